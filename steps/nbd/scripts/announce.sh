#!/bin/sh
# Becomes a server, and prints a line once a file that the server makes is there: so nobody asks from afar. What
# waits for the file is of the server's process group, and ends with it.
#
#   $1   the file
#   $2   the line
#   $3…  the server's command line
file=$1 line=$2
shift 2
{
    until [ -e "$file" ]; do sleep 0.02; done
    printf '\n%s\n' "$line"
} &
exec "$@"
