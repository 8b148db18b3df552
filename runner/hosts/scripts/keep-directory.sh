#!/bin/sh
# Makes a temporary directory, prints its path, and removes it when standard input ends or TERM comes: so it
# goes with us, however we end. $0 is the mark of the run that it belongs to.
#
#   $1   bytes that are to be free there: then it is in memory if that has them, else in TMPDIR, else in /tmp
#
# Exits with 0 once it is removed, else with 1 and what keeps it from being made or removed; 28 if there is no
# room.
. ./identity.sh
umask 077
reader=
end() {
    # A program of ours that ends at this moment may still write there.
    rm -rf "$directory" || { sleep 1; rm -rf "$directory"; }
    code=$?
    [ -z "$reader" ] || kill "$reader" 2>/dev/null
    exit "$code"
}
trap '' HUP INT PIPE
trap '[ -z "$directory" ] || end; exit' TERM
# Whether $1 is a directory for us with $2 bytes free.
has_room() {
    [ -d "$1" ] && [ -w "$1" ] && free=$(stat -f -c '%a %S' "$1" 2>/dev/null) || return
    [ "$((${free% *} * ${free#* }))" -ge "$2" ]
}
directory=
place=/tmp
if [ "$1" -gt 0 ]; then
    for place in /dev/shm "${TMPDIR:-/tmp}" /tmp -; do
        if has_room "$place" "$1"; then break; fi
    done
    [ "$place" != - ] || exit 28
fi
directory=$(mktemp -d "$place/sd-XXXXXXXX") || exit
# Who keeps it, and in which pid namespace that has its number: for a sweep after a power cut.
printf '%s %s %s\n' "$0" "$(readlink /proc/self/ns/pid)" "$(identity $$)" 2>/dev/null >"$directory/.owner" || {
    rm -rf "$directory"
    echo 'nothing can be written there: is it full?'
    exit 1
}
printf '%s\n' "$directory"
# A trap waits for what runs in the foreground, but not for `wait`.
exec 3<&0
cat <&3 >/dev/null &
reader=$!
wait "$reader"
reader=
end
