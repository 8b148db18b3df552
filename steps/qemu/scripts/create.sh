#!/bin/sh
# Makes an image in place of any file at $1, which only its user may read, and brings it onto storage with its
# name.
#
#   $1   path
#   $2   its directory
#   $3…  what `qemu-img create` is told
umask 077
path=$1 directory=$2
shift 2
# qemu-img makes files that all may read, but keeps the mode of one that is there.
rm -f "$path" && : >"$path" && qemu-img create "$@" && sync "$path" "$directory"
