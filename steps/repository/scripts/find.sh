#!/bin/sh
# Prints what is in a repository, see list.sh. Exits as find, with 1 if some of it could not be read.
. ./list.sh
list "$@"
