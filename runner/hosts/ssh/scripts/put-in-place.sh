#!/bin/sh
# Sourced last: gives the whole file $3 its mode $5 and the name $1 in the directory $2.
chmod "$5" "$3" && sync "$3" && in_time && mv -f -T "$3" "$1" && sync "$2"
