#!/bin/sh
# Makes directories, in this order; one that is there is fine, and keeps its mode.
#
#   $1 mode  $2 "parents" to make those of the first too, or nothing  $3… path and its parent, each
. ./prelude.sh
mode=$1 parents=$2
shift 2
while [ $# -gt 0 ]; do
    if [ ! -d "$1" ]; then
        if [ -n "$parents" ]; then mkdir -p "$2" || exit; fi
        mkdir -m "$mode" "$1" || { code=$?; [ -d "$1" ] || exit "$code"; }
        sync "$2" || exit
    fi
    parents=
    shift 2
done
