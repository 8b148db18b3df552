#!/bin/sh
# Appends to a file, all of it or nothing; one that is not there is made.
#
#   $1 path  $2 its directory  $3 temporary, beside it  $4 size  $5 mode  $6 hundredths of a second that it may take
#
# Exits with 90 if $1 is no regular file.
. ./prelude.sh
. ./stage.sh
. ../../scripts/regular-file.sh
before=0
if [ -e "$1" ] || [ -L "$1" ]; then refuse_unless_regular "$1"; before=${found##* }; fi
in_time || exit
cat "$3" >>"$1" && sync "$1" "$2" && exit
truncate -s "$before" "$1"
exit 1
