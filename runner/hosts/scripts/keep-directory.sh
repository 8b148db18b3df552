#!/bin/sh
# Makes a temporary directory, prints its path, and removes it when standard input ends or TERM comes: so it
# goes with us, however we end. $0 is the mark of the run that it belongs to.
#
#   $1   bytes that are to be free there: then it is in memory if that has them, else in TMPDIR, else in /tmp
#   $2   "disk": then it is in the first of TMPDIR, /tmp and /var/tmp that is not in memory and has them
#
# Exits with 0 once it is removed, else with 1 and what keeps it from being made or removed; with 28 if there is
# no room, and then says what each place has instead: "FREE PLACE;", FREE in bytes, or "memory", or "closed" if
# it is no directory that we may write to.
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
# What a file of $1 may take there, in the words above; what is in memory counts if $2 is empty.
free_in() {
    { [ -d "$1" ] && [ -w "$1" ] && found=$(stat -f -c '%a %S %T' "$1" 2>/dev/null); } || { echo closed; return; }
    # shellcheck disable=SC2086  # a list of words
    set -- "$2" $found
    case $1,$4 in
        disk,tmpfs | disk,ramfs) echo memory ;;
        *) echo "$(($2 * $3))" ;;
    esac
}
directory=
place=/tmp
if [ "$1" -gt 0 ]; then
    room=$1 kind=$2 seen=
    set -- /dev/shm "${TMPDIR:-/tmp}" /tmp
    [ "$kind" != disk ] || set -- "${TMPDIR:-/tmp}" /tmp /var/tmp
    for place; do
        free=$(free_in "$place" "$kind")
        if [ "$free" -ge "$room" ] 2>/dev/null; then break; fi
        seen="$seen$free $place;" place=
    done
    [ -n "$place" ] || { printf %s "$seen"; exit 28; }
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
