#!/bin/sh
# Sourced: which process it is, beyond its number, see runner/hosts/identity.py.

# Prints "PID START BOOT COMMAND" of process $1; fails if there is none.
identity() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    read -r boot </proc/sys/kernel/random/boot_id
    command=$(sha256sum <"/proc/$1/cmdline")
    # The second field, the program's name, may hold spaces and brackets; the start is field 22 (proc(5)).
    # shellcheck disable=SC2086  # a list of words
    set -- "$1" ${stat##*) }
    printf '%s %s %s %.16s\n' "$1" "${21}" "$boot" "$command"
}
