#!/bin/sh
# Signals processes and waits until they are gone; those that are gone already, or have become others, are fine.
#
#   $1   signal name
#   $2   how long to wait, in tenths of a second
#   $3…  identities
#
# Exits with 1 if one is still there.
. ./identity.sh
signal=$1 tenths=$2
shift 2
alive() { [ "$1" = "$(identity "${1%% *}")" ]; }
for who; do
    if alive "$who"; then kill -"$signal" "${who%% *}" 2>/dev/null; fi
done
for who; do
    while alive "$who"; do
        [ "$tenths" -gt 0 ] || { echo "process ${who%% *} does not end" >&2; exit 1; }
        tenths=$((tenths - 1))
        sleep 0.1
    done
done
