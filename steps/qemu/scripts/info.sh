#!/bin/sh
# Prints what `qemu-img info` says of each image, as JSON documents in a row, and ends at the first that it cannot
# open.
#
#   $1   -U for images that an exporter has open for writing, or nothing
#   $2   the images' format
#   $3…  images
share=$1 format=$2
shift 2
for image; do
    # qemu would wait for ever for what writes into a FIFO, and follow a link to anywhere.
    if [ -L "$image" ] || { [ -e "$image" ] && [ ! -f "$image" ]; }; then echo "it is not a regular file" >&2; exit 1; fi
    qemu-img info --output=json -f "$format" ${share:+"$share"} "$image" || exit
done
