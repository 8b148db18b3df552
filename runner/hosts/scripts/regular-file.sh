#!/bin/sh
# Sourced: files that are files, see runner/hosts/regular_file.py.

# Ends the script with exit code 90, and the kind on standard error, if $1 is no regular file; else `found` ends
# in its size.
refuse_unless_regular() {
    found=$(stat -c '%F %s' "$1") || exit
    case $found in
    'regular '*) ;;
    *) echo "${found% *}" >&2; exit 90 ;;
    esac
}
