#!/bin/sh
# Sourced: refuses what mv would do by copying from the directory $3 into $4.
[ "$(stat -c %d "$3")" = "$(stat -c %d "$4")" ] || { echo "rename: Invalid cross-device link" >&2; exit 1; }
