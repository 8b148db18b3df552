#!/bin/sh
# Appends one entry to the log of a repository, chained to the line before; prints "NUMBER DIGEST" of what was
# appended: the entry's number, and the SHA-256 of its line with its newline.
#
#   $1   the log; one that is not there is made
#   $2   its directory
#   $3   seconds to wait for another writer
#
# Standard input has what is to be logged: the inside of a JSON object, in one line.
#
# It only ever appends, since root of the host may have made the file append-only: a line that a kill or a full
# disk left without its end gets a newline, and remains as a line that is no entry.
#
# Exits with 90 if $1 is no regular file, with 75 if others write for that long.
export LC_ALL=C
umask 077
. ../../../runner/hosts/scripts/regular-file.sh
content=$(cat)
made=
if [ -e "$1" ] || [ -L "$1" ]; then refuse_unless_regular "$1"; else made=$2; fi
exec 9>>"$1" || exit
flock -w "$3" -E 75 9 || exit
[ ! -s "$1" ] || [ "$(tail -c 1 "$1" | wc -l)" -eq 1 ] || echo >&9 || exit
number=$(tail -n 20 "$1" | sed -n 's/^{"seq":\([1-9][0-9]\{0,17\}\),.*}$/\1/p' | tail -n 1)
[ -n "$number" ] || number=$(wc -l <"$1") || exit
if [ -s "$1" ]; then before=$(tail -n 1 "$1" | sha256sum) || exit; else before=; fi
line=$(printf '{"seq":%d,%s,"prev":"%s"}' "$((number + 1))" "$content" "${before%% *}")
printf '%s\n' "$line" >&9 || exit
sync "$1" ${made:+"$made"} || exit
set -- "$(printf '%s\n' "$line" | sha256sum)" "$((number + 1))"
echo "$2 ${1%% *}"
