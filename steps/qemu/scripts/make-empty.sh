#!/bin/sh
# Makes the file $1 of $2 zero bytes, all of it a hole, in place of any that is there; only its user may read it.
umask 077
rm -f "$1" && truncate -s "$2" "$1"
