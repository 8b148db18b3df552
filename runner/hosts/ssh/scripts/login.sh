#!/bin/sh
# Becomes the command whose words, as `printf %b` takes them, are $3…, after it said the word $1$2 on standard
# output and standard error. Travels in one line and in single quotes, through any login shell
# (runner/hosts/ssh/command_line.py): each line is a whole command, and none has a quote, a backslash or a "!".
echo "$1$2"
echo "$1$2" >&2
shift 2
# Of a bash whose locale is missing, each start prints a warning: those that come after the word would be taken
# for the command's.
LC_ALL=C
export LC_ALL
eval "$(printf %b "$@")"
