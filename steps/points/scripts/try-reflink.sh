#!/bin/sh
# Whether files in the directory $1 can share blocks, by trying it with one that is gone afterwards: exits with 0,
# else 1, also where none may be written.
cd "$1" || exit
file=.share-$$
: >"$file" && cp --reflink=always "$file" "$file.2"
code=$?
rm -f "$file" "$file.2"
exit "$code"
