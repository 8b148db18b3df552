#!/bin/sh
# Prints a tar archive of files in the directory $1, whose names come on standard input, each with a NUL at its
# end. Messages are in the C locale's words.
#
# Exits with 3 if it is no directory, or none that we may enter; else as tar: 1 if a file changed while it was
# read, 2 if some could not be read.
export LC_ALL=C
cd "$1" || exit 3
exec tar --create --file=- --format=gnu --no-recursion --hard-dereference --null --verbatim-files-from --files-from=-
