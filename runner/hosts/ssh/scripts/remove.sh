#!/bin/sh
# Removes; absent is fine. $1 is -f, or -rf for directories with all that is in them; paths follow.
. ./prelude.sh
exec rm "$@"
