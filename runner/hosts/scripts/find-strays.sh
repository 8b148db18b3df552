#!/bin/sh
# Lists what runs hold on this host: marked shells, and temporary directories whose keeper is gone. Of our own
# account only.
#
#   process SINCE COMMAND IDENTITY    COMMAND is /proc/PID/cmdline in base64, since it holds what it likes
#   directory SINCE PATH MARK         MARK is - if the directory does not say whose it is
#
# SINCE is in seconds of the epoch.
#
# shellcheck disable=SC3067  # -O is not in POSIX; dash, bash, ash and ksh have it
. ./identity.sh
now=$(date +%s)
up=$(cut -d. -f1 /proc/uptime)
# shellcheck disable=SC2013  # no path in /proc has a space
for file in $(grep -lzs '^sendense:' /proc/[0-9]*/cmdline); do
    pid=${file#/proc/} pid=${pid%/cmdline}
    [ -O "/proc/$pid" ] || continue
    who=$(identity "$pid") || continue
    # shellcheck disable=SC2086  # a list of words
    start=$(set -- $who && echo "$2")
    since=$((now - up + start / $(getconf CLK_TCK)))
    echo "process $since $(base64 -w 0 <"$file" 2>/dev/null) $who"
done
tmpdir=${TMPDIR:-/tmp}
[ "$tmpdir" != /tmp ] || tmpdir=
for directory in /tmp/sd-* /dev/shm/sd-* ${tmpdir:+"$tmpdir"/sd-*}; do
    { [ -d "$directory" ] && [ ! -L "$directory" ] && [ -O "$directory" ]; } || continue
    since=$(stat -c %Y "$directory") || continue
    if [ -f "$directory/.owner" ]; then
        read -r mark space owner <"$directory/.owner"
        # In another pid namespace numbers mean other processes.
        [ "$space" = "$(readlink /proc/self/ns/pid)" ] || continue
        [ "$owner" = "$(identity "${owner%% *}")" ] || echo "directory $since $directory ${mark:--}"
    elif [ -n "$(find "$directory" -maxdepth 0 -empty -mmin +10)" ]; then
        # Of a power cut in its first moment; a younger one may be getting its owner just now.
        echo "directory $since $directory -"
    fi
done
