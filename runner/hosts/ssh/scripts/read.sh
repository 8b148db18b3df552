#!/bin/sh
# Prints a regular file, and one byte more than it may have if it grew.
#
#   $1   path
#   $2   the most bytes that it may have
#
# Exits with 90 if it is no regular file, 91 if it has more.
. ./prelude.sh
. ../../scripts/regular-file.sh
refuse_unless_regular "$1"
[ "${found##* }" -le "$2" ] || exit 91
# dd waits for nobody and follows no link, whatever stands there by now.
exec dd if="$1" iflag=nofollow,nonblock,count_bytes count="$(($2 + 1))" bs=1048576 status=none
