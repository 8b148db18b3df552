#!/bin/sh
# Prints the paths of files that have a text in them, one in each VM's directory.
#
#   $1   the repository
#   $2   the text, in any case
#   $3   the files' name
#
# Exits with 3 if the repository is no directory, or none that we may enter; 1 if some of it could not be read.
cd "$1" || exit 3
# grep exits with 1 if it found none, and with 2 for what it could not read, which must not pass for "not found".
exec find . -mindepth 1 -maxdepth 2 \( -path './.*' -o -path ./lost+found \) -prune -o \
    -type f -path "./*/$3" \
    -exec sh -c 'text=$1; shift; grep -liF -e "$text" -- "$@"; test $? -lt 2' sh "$2" {} +
