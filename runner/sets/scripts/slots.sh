#!/bin/sh
# Reads what all runners hold and wait for, and replaces what this one says if nobody said anything since: under
# one lock, which is held for as long as this script runs.
#
#   $1   the directory: NAME.lock and NAME.json of each runner, `lock`, `generation`
#   $2   this runner's NAME
#   $3   the generation that its decision was made by, or "read"
#   $4   bytes of what it says, on standard input
#   $5   seconds for which claims of a runner count after its lock was seen free: so long its children take to stop
#
# First prints "written N", "changed N" (nothing was written) or "read N", with the generation, or "lost" if this
# runner's lock is not held, or "busy". Then a line for each runner: NAME, "held" or "free", the seconds since it
# wrote or looked, and what it says; nothing where that cannot be read.
. ../../hosts/scripts/regular-file.sh
export LC_ALL=C
umask 077
cd "$1" || exit
if [ -e lock ] || [ -L lock ]; then refuse_unless_regular lock; fi
exec 9>>lock || exit
flock -w 20 9 || { echo busy; cat >/dev/null; exit 0; }
# What cannot be looked at counts as held.
is_held() { [ -e "$1" ] && ! flock -n "$1" true 2>/dev/null; }
generation=$(cat generation 2>/dev/null)
generation=${generation:-0}
answer='read'
if [ "$3" != read ]; then
    is_held "$2.lock" || { echo lost; cat >/dev/null; exit 0; }
    if [ "$3" = "$generation" ]; then
        # A reader has the old or the new, and a power cut voids either: nothing needs to be synced.
        if ! cat >"$2.new" || [ "$(wc -c <"$2.new")" -ne "$4" ]; then
            rm -f "$2.new"
            exit 1
        fi
        generation=$((generation + 1))
        echo "$generation" >generation.new && mv generation.new generation && mv "$2.new" "$2.json" || exit
        answer=written
    else
        cat >/dev/null
        answer=changed
    fi
fi
[ ! -e "$2.json" ] || touch "$2.json"
echo "$answer $generation"
now=$(date +%s)
for file in *.json; do
    [ -e "$file" ] || [ -L "$file" ] || continue
    name=${file%.json}
    state=held
    if is_held "$name.lock"; then
        rm -f "$name.free"
    else
        state=free
        [ -s "$name.free" ] || echo "$now" >"$name.free"
        since=$(cat "$name.free" 2>/dev/null)
        if [ $((now - ${since:-now})) -ge "$5" ]; then
            flock -n "$name.lock" rm -f "$name.json" "$name.lock" "$name.free"
            continue
        fi
    fi
    content=
    if [ -f "$file" ] && [ ! -L "$file" ]; then content=$(cat "$file" 2>/dev/null); fi
    changed=$(stat -c %Y "$file")
    echo "$name $state $((now - ${changed:-now})) $content"
done
