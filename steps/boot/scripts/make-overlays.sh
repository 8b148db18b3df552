#!/bin/sh
# Makes an empty qcow2 image for each disk of a machine, and gives its file the size that it may not outgrow.
#
#   $1   qemu-img's options for each
#   $2…  path, capacity of the disk and size of the file, each in bytes, of one after the other
options=$1
shift
while [ "$#" -gt 0 ]; do
    qemu-img create -q -f qcow2 -o "$options" "$1" "$2" && truncate -s "$3" "$1" || exit
    shift 3
done
