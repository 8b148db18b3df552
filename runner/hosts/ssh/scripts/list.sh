#!/bin/sh
# Prints the names in the directory $1, each with a NUL at its end.
#
# Exits with 9 if it is there and could not be read to its end: that one of the names is gone again when find
# looks at it does not make the directory absent.
. ./prelude.sh
stat -L "$1" >/dev/null || exit
if [ ! -d "$1" ]; then echo "find: Not a directory" >&2; exit 1; fi
find -H "$1" -mindepth 1 -maxdepth 1 -printf '%f\0' || exit 9
