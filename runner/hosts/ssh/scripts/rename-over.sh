#!/bin/sh
# Renames a file in place of another one.
#
#   $1 old  $2 new  $3 directory of the old  $4 directory of the new
. ./prelude.sh
. ./same-file-system.sh
mv -f -T "$1" "$2" && sync "$3" "$4"
