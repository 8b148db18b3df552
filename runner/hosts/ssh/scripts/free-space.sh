#!/bin/sh
# Prints how many blocks are free for us in the file system at $1, and the bytes a block.
. ./prelude.sh
exec stat -f -c '%a %S' "$1"
