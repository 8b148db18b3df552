#!/bin/sh
# Prints what is in a VM's directory, see list.sh, another NUL, and a tar archive of the repository's marker and
# of the regular files that are named in $5…, identities.json too, as far as they have no more than 1 MiB.
#
# Exits with tar's code, as read-files.sh, and 16 more if find could not read some of it.
. ./list.sh
list "$@"
listed=$?
printf '\0'
{
    printf './repository.json\0'
    find "$start" -maxdepth "$depth" -path "./*/*$dropped" -prune -o \
        -type f -size -2049 \( -name identities.json "$@" \) -print0
} 2>/dev/null |
    tar --create --file=- --format=gnu --no-recursion --hard-dereference --null --verbatim-files-from --files-from=-
archived=$?
[ "$listed" -eq 0 ] || archived=$((archived + 16))
exit "$archived"
