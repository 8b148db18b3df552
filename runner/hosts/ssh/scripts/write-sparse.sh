#!/bin/sh
# Writes a file with holes: reads lines "OFFSET LENGTH", each followed by that many bytes, and "end". Whole or
# not at all. The contents of further files may follow: each is written once the one before is on storage.
#
#   $1 path  $2 its directory  $3 temporary, beside it  $4 size  $5 mode  $6 hundredths of a second that it may take
#   $7… path and size of each further file, in the same directory
. ./prelude.sh
. ./in-time.sh
. ./staging.sh
. ./put-in-place.sh
# Copies the next $1 bytes to offset $2 of the temporary.
place() {
    dd of="$temporary" bs=65536 count="$1" seek="$2" status=none conv=notrunc \
        iflag=fullblock,count_bytes oflag=seek_bytes
}
in_part() {
    echo "only a part of the content came" >&2
    exit 1
}
set -C
: >"$3" || exit
set +C
while read -r offset length && [ "$offset" != end ]; do
    place "$length" "$offset" || exit
done
[ "$offset" = end ] || in_part
truncate -s "$4" "$3" || exit
put_in_place "$1" || exit
shift 6
while [ $# -gt 0 ]; do
    set -C
    : >"$temporary" || exit
    set +C
    place "$2" 0 || exit
    [ "$(stat -c %s "$temporary")" -eq "$2" ] || in_part
    put_in_place "$1" || exit
    shift 2
done
