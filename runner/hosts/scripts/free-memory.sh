#!/bin/sh
# Prints how many KiB of memory a process of this account may still take: what the kernel calls available
# (proc(5), MemAvailable), or less where a control group above this shell has a limit (cgroups(7), version 2,
# memory.max; what files have in memory can be reclaimed).
#
# Exits with 1 if the kernel does not say.
available=
while read -r name kib _; do
    [ "$name" != MemAvailable: ] || available=$kib
done </proc/meminfo
[ -n "$available" ] || exit 1
group=
while read -r line; do
    case $line in 0::/*) group=${line#0::} ;; esac
done </proc/self/cgroup
while [ -n "$group" ] && [ "$group" != / ]; do
    at=/sys/fs/cgroup$group limit='' used=''
    group=${group%/*}
    { read -r limit <"$at/memory.max" && read -r used <"$at/memory.current"; } 2>/dev/null
    case $limit in '' | max) continue ;; esac
    while read -r name bytes; do
        case $name in active_file | inactive_file) used=$((used - bytes)) ;; esac
    done <"$at/memory.stat"
    left=$(((limit - used) / 1024))
    [ "$left" -ge "$available" ] || available=$left
done
echo "$available"
