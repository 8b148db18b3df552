#!/bin/sh
# As login.sh, of a session whose standard error is its output from then on: the word is said once.
echo "$1$2"
exec 2>&1
shift 2
LC_ALL=C
export LC_ALL
eval "$(printf %b "$@")"
