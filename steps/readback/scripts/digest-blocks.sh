#!/bin/sh
# Prints the BLAKE3 digests of blocks of an image, a line a block, as they are read from it anew, and between them what
# qemu-img says of its progress, which shows that it moves.
#
#   $1  a directory for what is read
#   $2  bytes a block
#   $3  the image, in qemu's JSON
#   $4  the image as a server on this machine has it open, in qemu's JSON
#
# Each line of standard input is a window: "files" or "server", which of the two is read, and OFFSET SIZE of every run
# of blocks in it: qemu-img joins them, so that they are read by one process. It opens the image again for each run.
# Only the image's last block may be shorter.
#
# Exits with the code of what failed.
directory=$(mktemp -d "$1/digest-XXXXXX") || exit
block=$2 files=$3 server=$4
while read -r from runs; do
    case $from in
        files) image=$files ;;
        server) image=$server ;;
        *) exit 2 ;;
    esac
    # shellcheck disable=SC2086  # a list of numbers
    set -- $runs
    left=$#
    while [ "$left" -gt 0 ]; do
        set -- "$@" "json:{\"driver\":\"raw\",\"offset\":$1,\"size\":$2,\"file\":$image}"
        shift 2
        left=$((left - 2))
    done
    qemu-img convert -p -U -W -O raw "$@" "$directory/window" || exit
    split -b "$block" -a 3 "$directory/window" "$directory/block-" || exit
    rm "$directory/window"
    b3sum --no-names --num-threads 1 "$directory"/block-* || exit
    rm "$directory"/block-*
done
rmdir "$directory"
