#!/bin/sh
# Prints where files really are: first the directory $1 and a newline, then each file of $2… with a NUL at its
# end.
#
# Exits with 4 at the first that is gone, or no regular file.
cd "$1" || exit
pwd -P || exit
shift
for path; do
    { [ -f "$path" ] && realpath -e -z "$path"; } || exit 4
done
