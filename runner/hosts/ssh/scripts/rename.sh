#!/bin/sh
# Renames, unless the new name is taken.
#
#   $1 old  $2 new  $3 directory of the old  $4 directory of the new
. ./prelude.sh
. ./same-file-system.sh
stat "$1" >/dev/null || exit
# mv -n asks the kernel for RENAME_NOREPLACE (coreutils 8.30 and later); it may be silent when it did nothing.
mv -T -n "$1" "$2" 2>/dev/null
if [ -e "$1" ] || [ -L "$1" ]; then
    if [ -e "$2" ] || [ -L "$2" ]; then echo "rename: File exists" >&2; exit 1; fi
    exec mv -T -n "$1" "$2"
fi
sync "$3" "$4"
