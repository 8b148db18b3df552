#!/bin/sh
# Prints what the log of a repository says of the VMs of a set, oldest first: "VM usual" and "VM unusual" for
# publications, by how much the VM had changed, and "VM released" where its brake was.
#
#   $1   the log; one that is not there says nothing
#   $2   how many bytes of its end are looked at
#   $3   from when, as the log has it: 2026-11-23T17:00:00
#   $4   what a line of the set has in it: "job":"gold/
#
# In a JSON text each quote has a backslash before it, so a key with both its quotes is a key.
# How its reading ended stands in the last line, behind all that the writers of the log chose.
# Exits with 90 if $1 is no regular file, with 74 if it cannot be read.
export LC_ALL=C
. ../../../runner/hosts/scripts/regular-file.sh
if [ ! -e "$1" ] && [ ! -L "$1" ]; then exit 0; fi
refuse_unless_regular "$1"
{ tail -c "$2" "$1"; printf '\n%d\n' "$?"; } | since=$3 of_set=$4 awk '
    function text(key,    rest) {
        if (!index($0, ",\"" key "\":\"")) return ""
        rest = substr($0, index($0, ",\"" key "\":\"") + length(key) + 5)
        return substr(rest, 1, index(rest, "\"") - 1)
    }
    { last = $0 }
    END { if (last != "0") exit 74 }
    !/^{"seq":.*}$/ || text("at") < ENVIRON["since"] { next }
    text("act") == "publish" && index($0, ENVIRON["of_set"]) {
        print text("vm"), index($0, ",\"unusual\":true,") ? "unusual" : "usual"
    }
    text("act") == "release-brake" { print text("vm"), "released" }
'
