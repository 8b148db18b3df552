#!/bin/sh
# Writes a file, new or in place of another: it is there whole or not at all.
#
#   $1 path  $2 its directory  $3 temporary, beside it  $4 size  $5 mode  $6 hundredths of a second that it may take
. ./prelude.sh
. ./stage.sh
. ./put-in-place.sh
put_in_place "$1"
