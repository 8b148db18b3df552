#!/bin/sh
# Makes a directory; one that is there is fine, and keeps its mode.
#
#   $1 path  $2 mode  $3 its parent  $4 "parents" to make those too, or nothing
. ./prelude.sh
if [ -d "$1" ]; then exit 0; fi
if [ -n "$4" ]; then mkdir -p "$3" || exit; fi
mkdir -m "$2" "$1" || { code=$?; [ -d "$1" ] && exit 0; exit "$code"; }
sync "$3"
