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
# Whether the process of the identity $1 is there. It is the one that was meant by its number, start and boot; its
# command line says no more of a keeper, which runs no other program, and takes a program to digest.
is_there() {
    { read -r stat <"/proc/${1%% *}/stat"; } 2>/dev/null || return
    read -r boot </proc/sys/kernel/random/boot_id
    # shellcheck disable=SC2086  # two lists of words
    set -- $1 ${stat##*) }
    [ "$2 $3" = "${24} $boot" ]
}
now=$(date +%s)
read -r up rest </proc/uptime
up=${up%.*} rest=
ticks=
# shellcheck disable=SC2013  # no path in /proc has a space
for file in $(grep -lzs '^sendense:' /proc/[0-9]*/cmdline); do
    pid=${file#/proc/} pid=${pid%/cmdline}
    [ -O "/proc/$pid" ] || continue
    who=$(identity "$pid") || continue
    ticks=${ticks:-$(getconf CLK_TCK)}
    # shellcheck disable=SC2086  # a list of words
    set -- $who
    since=$((now - up + $2 / ticks))
    echo "process $since $(base64 -w 0 <"$file" 2>/dev/null) $who"
done
space=$(readlink /proc/self/ns/pid)
tmpdir=${TMPDIR:-/tmp}
case $tmpdir in /tmp | /var/tmp) tmpdir= ;; esac
for directory in /tmp/sd-* /dev/shm/sd-* /var/tmp/sd-* ${tmpdir:+"$tmpdir"/sd-*}; do
    { [ -d "$directory" ] && [ ! -L "$directory" ] && [ -O "$directory" ]; } || continue
    mark=
    if [ -f "$directory/.owner" ]; then
        read -r mark owners owner <"$directory/.owner"
        # In another pid namespace numbers mean other processes.
        if [ "$owners" != "$space" ] || is_there "$owner"; then continue; fi
    elif [ -z "$(find "$directory" -maxdepth 0 -empty -mmin +10)" ]; then
        # Of a power cut in its first moment; a younger one may be getting its owner just now.
        continue
    fi
    since=$(stat -c %Y "$directory") && echo "directory $since $directory ${mark:--}"
done
