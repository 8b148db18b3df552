#!/bin/sh
# Prints the kind of the file system that $1 is on, as stat(1) calls it, and of an XFS "reflink=0" or "reflink=1"
# where xfs_info can be asked: it may have been made without (mkfs.xfs(8)).
#
# Exits with 1 if that cannot be told; whether there is an xfs_info is not told.
kind=$(stat -f -c %T -- "$1") && echo "$kind"
[ "$kind" != xfs ] ||
    PATH=$PATH:/usr/sbin:/sbin xfs_info "$(stat -c %m -- "$1")" 2>/dev/null | grep -o 'reflink=[01]'
