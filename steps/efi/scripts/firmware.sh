#!/bin/sh
# Prints the firmware descriptors of QEMU (docs/interop/firmware.json) in the directories given as arguments: of
# each its path, its text, and for each file that it names and that we may read a line with the name and one with
# where that really is. Each of the three ends with a NUL.
for directory; do
    for descriptor in "$directory"/*.json; do
        test -r "$descriptor" || continue
        printf '%s\0' "$descriptor"
        tr -d '\000' < "$descriptor"
        printf '\0'
        sed -n 's/.*"filename"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$descriptor" |
            while IFS= read -r named; do
                test -r "$named" && printf '%s\n' "$named" && readlink -f "$named"
            done
        printf '\0'
    done
done
exit 0
