#!/bin/sh
# Brings files and directories onto storage.
. ./prelude.sh
exec sync "$@"
