#!/bin/sh
# Prints a part of a disk.
#
#   $1   the part, as QEMU's tools name it
#   $2   a file for what is read
qemu-img convert -O raw "$1" "$2" && cat "$2"
