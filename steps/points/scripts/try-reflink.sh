#!/bin/sh
# Whether files in the directory $1 can share blocks, by trying it with one that it removes again: exits with
# 0 if so. Where none may be written they cannot.
cd "$1" || exit
file=.share-$$
: >"$file" && cp --reflink=always "$file" "$file.2"
code=$?
rm -f "$file" "$file.2"
exit "$code"
