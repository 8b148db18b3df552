#!/bin/sh
# Writes a file with holes: reads lines "OFFSET LENGTH", each followed by that many bytes, and "end". Whole or
# not at all.
#
#   $1 path  $2 its directory  $3 temporary, beside it  $4 size  $5 mode  $6 hundredths of a second that it may take
. ./prelude.sh
. ./in-time.sh
. ./staging.sh
set -C
: >"$3" || exit
set +C
while read -r offset length && [ "$offset" != end ]; do
    dd of="$3" bs=65536 count="$length" seek="$offset" status=none conv=notrunc \
        iflag=fullblock,count_bytes oflag=seek_bytes || exit
done
[ "$offset" = end ] || { echo "only a part of the content came" >&2; exit 1; }
truncate -s "$4" "$3" || exit
. ./put-in-place.sh
