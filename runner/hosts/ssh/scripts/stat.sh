#!/bin/sh
# Prints size, blocks, bytes a block, time of the last change and mode (hexadecimal) of what is at $1.
. ./prelude.sh
exec stat -L -c '%s %b %B %Y %f' "$1"
