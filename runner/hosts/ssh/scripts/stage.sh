#!/bin/sh
# Sourced: writes standard input, of which there are to be $4 bytes, into the new file $3.
. ./in-time.sh
. ./staging.sh
set -C
head -c "$4" >"$3" || exit
set +C
[ "$(stat -c %s "$3")" -eq "$4" ] || { echo "only a part of the content came" >&2; exit 1; }
