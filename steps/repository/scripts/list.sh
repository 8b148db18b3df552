#!/bin/sh
# Sourced: goes to the repository $1, prints the kind of the file system that it is on, and has `list` print
# what find lists of it: of each its type, links, bytes, blocks of 512 bytes, owner's number, and path, with a NUL
# at the end.
# Messages are in the C locale's words.
#
#   $1   the repository
#   $2   where to start: ".", or "./" and the name of a VM's directory
#   $3   how many levels below that
#   $4   suffix of what is being deleted: it is listed, and not looked into
#   $5…  in the directories of restore points, names of files that are listed beside disks: "-o -name NAME" each;
#        they are left as $1…
#
# Exits with 3 if the repository is no directory, or none that we may enter.
export LC_ALL=C
cd "$1" || exit 3
start=$2 depth=$3 dropped=$4
shift 4
kind=$(stat --file-system --format=%T .)
printf '%s\n' "$kind"
list() {
    find "$start" -maxdepth "$depth" \
        \( -path './.*' -o -path ./lost+found -o -path "./*/*$dropped" \) -prune -printf '%y %n %s %b %U %p\0' -o \
        \( -not -path './*/*/*' -o -name 'disk-*' "$@" \) -printf '%y %n %s %b %U %p\0'
}
