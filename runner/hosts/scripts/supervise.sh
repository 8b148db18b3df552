#!/bin/sh
# Runs a program that ends with us, see runner/hosts/supervisor.py.
#
#   $1   how many bytes of standard input are the program's; signal names follow, one a line, and the end of it
#        means TERM, and KILL five seconds later
#   $2   a token, or nothing. With one, standard error is standard output, and two lines stand around what the
#        program prints: "TOKEN" once it was started, "TOKEN CODE" once it ended
#   $3   what to say if there is no such program
#   $4…  its command line
#
# The program has a small fixed environment; all of this shell's if SENDENSE_WHOLE_ENVIRONMENT is set in that.
#
# Exits with the program's code, 128 + n if signal n ended it; 126 if its input came in part, 127 if it is not
# there.
size=$1 token=$2 missing=$3
shift 3
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 077
# shellcheck disable=SC3045  # -c is not in POSIX; dash, bash, ash and ksh have it
ulimit -c 0
exec 3<&0 4</dev/null
if [ "$size" -gt 0 ]; then
    # shellcheck disable=SC2094  # one end to write it, one to read it from the start
    { file=$(mktemp) && exec 5>"$file" 4<"$file" && rm -f "$file"; } || { head -c "$size" <&3 >/dev/null; exit 126; }
    head -c "$size" <&3 | { cat >&5 || cat >/dev/null; }
    [ "$(stat -c %s - <&4)" -eq "$size" ] || exit 126
    exec 5>&-
fi
command -v "$1" >/dev/null || { printf '%s\n' "$missing" >&2; exit 127; }
[ -z "$token" ] || exec 2>&1
exec 6>&1
[ -z "$token" ] || echo "$token"
if [ -n "${SENDENSE_WHOLE_ENVIRONMENT-}" ]; then
    set -- env -u SENDENSE_WHOLE_ENVIRONMENT setsid "$@"
else
    set -- env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 LC_ALL=C.UTF-8 TMPDIR="${TMPDIR:-/tmp}" setsid "$@"
fi
"$@" <&4 3<&- 4<&- 6>&- &
child=$! watch=
# Not before: a child that is being made would take the signal of its first moment for the shell's own.
# shellcheck disable=SC2086  # `watch` is a number or nothing
trap 'kill -KILL -"$child" "$child" $watch 2>/dev/null; exit 143' TERM
send() { kill -"$1" -"$child" || kill -"$1" "$child"; }
{
    while read -r signal; do send "$signal"; done
    send TERM
    # A frozen program takes TERM only once it continues.
    send CONT
    tenths=50
    while [ "$tenths" -gt 0 ] && send 0; do sleep 0.1; tenths=$((tenths - 1)); done
    send KILL
} <&3 >/dev/null 2>&1 6>&- &
watch=$!
exec </dev/null >/dev/null 2>&1 4<&-
wait "$child"
code=$?
kill -KILL "$watch" -"$child"
if [ -n "$token" ]; then
    echo "$token $code" >&6
    while read -r signal; do :; done <&3
fi
exit "$code"
