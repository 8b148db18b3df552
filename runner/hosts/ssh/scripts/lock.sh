#!/bin/sh
# Holds a lock for as long as it hears from us, see runner/hosts/ssh/lock.py: reads bytes, and answers each with
# an empty line while the lock is held.
#
#   $1   path
#   $2   the holder, in words
#   $3   token
#   $4   seconds without a byte after which it releases the lock
#   $5   how often to try a file that is removed or replaced meanwhile
#
# First prints "taken TOKEN", with the token of its last holder, or "refused" and what the file says of its
# holder, or words of what failed. Exits with 90 if $1 is no regular file.
. ./prelude.sh
. ../../scripts/identity.sh
. ../../scripts/regular-file.sh
# The shell holds the lock by its file descriptor 9. Between opening and locking somebody may remove the file,
# and the next process locks another.
# shellcheck disable=SC3013  # -ef is not in POSIX; dash, bash, ash and ksh have it
is_at_path() { [ /proc/self/fd/9 -ef "$1" ]; }
tries=$5
while :; do
    if [ -e "$1" ] || [ -L "$1" ]; then refuse_unless_regular "$1"; fi
    exec 9>>"$1" || exit
    flock -n -E 75 9
    code=$?
    is_at_path "$1" && break
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "something replaces it again and again"; exit 1; }
done
if [ "$code" -eq 75 ]; then
    # A holder writes its name right after it got the lock.
    tries=10
    while [ -z "$(head -n 1 "$1")" ] && [ "$tries" -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
    echo refused
    exec cat <"$1"
fi
[ "$code" -eq 0 ] || exit
before=$(sed -n '2s/ .*//p' "$1")
me="$3 $(identity $$)"
printf '%s\n%s\n' "$2" "$me" >"$1" || exit
echo "taken $before"
while beat=$(exec 9>&- 2>/dev/null; exec timeout "$4" head -c 1) && [ -n "$beat" ]; do
    is_at_path "$1" || exit
    echo
done
if is_at_path "$1"; then printf '\n%s\n' "$me" >"$1"; fi
