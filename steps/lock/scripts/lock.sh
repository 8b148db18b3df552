#!/bin/sh
# Makes restore points immutable until their lock has ended. Runs as root, from a timer, and ends.
#
# sendense-lock REPOSITORY ACCOUNT LOCK EVERY RECORD
# sendense-lock --check REPOSITORY ACCOUNT             says what the lock would not hold against
#
# ACCOUNT is the one that writes the repository, a name or UID:GID; LOCK and EVERY are seconds. When a point was
# first seen and until when it is locked stands in RECORD/points, which only root can write. Of the repository only
# names are taken, which have to be exactly as expected, and from images which other ones they stand on.
#
# The account can rename whatever it owns at any moment. So a directory is entered first, then looked where that
# led to, then made immutable as `.`: from then on its entries stay what they are, and the same is done with them.
set -eu
LC_ALL=C
export LC_ALL
umask 077

DAY=86400
POINT='[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}'
VM='[A-Za-z0-9][A-Za-z0-9._-]{0,39}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

tell() {
    printf '%s\n' "$1" | tr -d '\000-\011\013-\037\177' >>"$problems"
}

# What the last command complained of. The account chose the names in it, which need not be text.
said() {
    head -n 1 "$record/said" | tr -dc '[:print:]'
}

whose() {
    case $1 in
        *:*) uid=${1%:*} gid=${1#*:} ;;
        *) uid=$(id -u -- "$1") && gid=$(id -g -- "$1") ;;
    esac
}

# --- What the lock would not hold against

check() {
    [ "$uid" != 0 ] || tell "$root belongs to root: give it to an account of its own, which a runner logs in as"
    name=$(getent passwd "$uid" | cut -d: -f1) || :
    members=$({
        getent group "$gid" | cut -d: -f4 | tr , '\n'
        getent passwd | awk -F: -v gid="$gid" '$4 == gid { print $1 }'
    } | sort -u | grep -vxF -e "${name:-$uid}" -e '' | tr '\n' ' ') || :
    [ -z "$members" ] ||
        tell "group $gid of ${name:-$uid} has other members (${members% }): give the account a group of its own"
    for group in $([ -z "$name" ] || id -Gn "$name"); do
        case $group in
            root | sudo | wheel | admin | disk | docker | lxd | incus | libvirt)
                tell "$name is in the group $group, which can become root: take it out of that group" ;;
        esac
    done
    check_above "$root"
}

# The directories above it: an account that may rename one of them puts another in its place.
check_above() {
    above=${1%/*}
    groups=" $gid $([ -z "$name" ] || id -G "$name") "
    while :; do
        owner=$(stat -c '%u %g %a' -- "${above:-/}")
        group=${owner#* } mode=${owner##* } owner=${owner%% *}
        group=${group%% *}
        acl=$(find "${above:-/}" -maxdepth 0 -exec ls -ld {} \; | cut -c11)
        writable=
        case $mode in *[2367]) writable=1 ;; esac
        case $mode in *[2367]?)
            case $groups in *" $group "*) writable=1 ;; esac
            [ "$acl" != + ] || writable=1 ;;
        esac
        # In a sticky directory of root's nobody renames what is root's.
        case $owner/$mode in 0/[1357]???) writable= ;; esac
        if [ "$owner" = "$uid" ] || [ -n "$writable" ]; then
            tell "${above:-/} can be written by ${name:-$uid}, who could put another directory in the place of $root: make it root's"
        fi
        [ -n "$above" ] || return 0
        above=${above%/*}
    done
}

# --- Time. A lock ends by the record's own: it advances with the machine's uptime, whatever the clock is set to.

synchronized() {
    [ "$(timedatectl show --property=NTPSynchronized --value 2>/dev/null)" = yes ] ||
        chronyc -n tracking 2>/dev/null | grep -q '^Leap status *: Normal'
}

# Sets `now`, and `ahead`: seconds from the record's time to the clock's, for what people are told.
advance() {
    read -r up _ </proc/uptime
    read -r boot </proc/sys/kernel/random/boot_id
    up=${up%.*} wall=$(date +%s) clock='not synchronized' off=-
    if synchronized; then clock=synchronized; fi
    if [ -s clock ]; then
        read -r now was_boot was_up was_wall off ahead <clock
        if [ "$boot" = "$was_boot" ]; then
            [ "$up" -lt "$was_up" ] || now=$((now + up - was_up))
        else
            now=$((now + up)) off=$was_wall
        fi
    else
        now=$wall ahead=0
    fi
    seen=-
    if [ "$clock" = synchronized ]; then
        # How long it was off says the clock alone: believed if synchronized, and for a day at most.
        if [ "$off" != - ]; then
            gone=$((wall - up - off))
            [ "$gone" -le $DAY ] || gone=$DAY
            [ "$gone" -le 0 ] || now=$((now + gone))
            off=-
        fi
        seen=$wall
        drift=$((wall - now - ahead))
        [ "${drift#-}" -lt 60 ] || ahead=$((wall - now))
    fi
    drift=$((wall - now))
    [ "${drift#-}" -lt 3600 ] || clock="$clock, $drift s ahead of the time that locks end by"
    echo "$now $boot $up $seen $off $ahead" >clock.new
    save clock
}

# Replaces a file of the record whole, by the one beside it.
save() {
    sync "$record/$1.new"
    mv -f "$record/$1.new" "$record/$1"
    sync "$record"
}

# --- Directories that the account adds to, and no more: sticky ones of root's

enter() {
    cd -P "$1" && [ "$PWD" = "$1" ]
}

# Before it changes hands nothing in it is worth more than the account's own; its modes for others stay.
take_over() {
    enter "$1" || return 1
    case $(stat -c '%d %u' .) in "$device $uid" | "$device 0") ;; *) return 1 ;; esac
    chown ":$gid" . && chmod g+rwx,o-w,+t . && chown "0:$gid" . && chmod g+rwx,o-w,+t .
}

# The repository's directory, and the two files in it that stay: nothing new can be in it while they are looked at.
hold_repository() {
    case $(lsattr -d .) in *i*' .') chattr -i . ;; esac
    case $(stat -c '%u %a' .) in "0 "[13]77[0145]) ;; *) take_over "$root" || tell "$root is not the account's: it can be renamed" ;; esac
    cd "$root"
    for file in repository.json:i log.jsonl:a; do
        name=${file%:*}
        inode=$(stat -c %i "$name" 2>/dev/null) || continue
        if [ "$inode" = "$(cat "$record/$name" 2>/dev/null)" ]; then
            flags=$(lsattr "$name" 2>/dev/null) || :
            case ${flags%% *} in *"${file#*:}"*) continue ;; esac
        fi
        chattr +i .
        find . -maxdepth 1 -name "$name" -type f -user "$uid" -links 1 \
            -exec chattr "+${file#*:}" {} \; -printf '%i\n' >"$record/$name" || :
        chattr -i .
        [ -s "$record/$name" ] || tell "$root/$name is no plain file of the account's alone: it is not locked"
    done
}

take_over_vms() {
    find . -mindepth 1 -maxdepth 1 -regextype posix-extended -regex "\./$VM" \
        -printf '%y %D %U %m %P\n' >"$record/vms" || tell "$root cannot be read whole"
    : >"$record/refused"
    while read -r type where owner mode vm; do
        case "$type $where $owner $mode" in
            "d $device 0 "[13]77[0145]) echo "$vm" ;;
            *)  if take_over "$root/$vm" 2>"$record/said"; then echo "$vm"
                else echo "$vm" >>"$record/refused"; tell "$root/$vm is no directory of the account's on the repository's file system: nothing in it is locked"; fi ;;
        esac
    done <"$record/vms" >"$record/mine"
    cd "$root"
    sort -o "$record/mine" "$record/mine"
}

# --- The record: lines of VM/POINT, first seen, until, state, points that it stands on.
# States: new, locked, free (its lock has ended; remembered, so that it is not locked anew).

# VM/POINT of each directory that is there, and whether it is immutable, as far as it is known to be locked.
look() {
    # shellcheck disable=SC2016  # for that shell to expand
    xargs -r sh -c 'exec find "$@" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended -regex "$0" -printf "%D %U %p\n"' \
        "[^/]*/$POINT" <"$record/mine" >"$record/found" || { whole=; tell "$root cannot be read whole"; }
    awk -v ours="$device $uid" -v problems="$problems" '
        $1 " " $2 == ours { print $3; next }
        { print $3 " is not the account'"'"'s: it is not locked" >>problems }' "$record/found" | sort >"$record/there"
    awk '$4 == "locked" { print $1 }' "$record/points" | sort | join - "$record/there" >"$record/known"
    xargs -r lsattr -d <"$record/known" 2>/dev/null | awk '$1 ~ /i/ { print $2 }' | sort >"$record/held"
    join -a 1 -e - -o 0,2.1 "$record/there" "$record/held"
}

# What is there now, put into the record.
remember() {
    look >"$record/seen"
    join -a 1 -a 2 -e - -o 0,1.2,1.3,1.4,1.5,2.1,2.2 "$record/points" "$record/seen" >"$record/joined"
    awk -v now="$now" -v lock="$lock" -v whole="$whole" -v problems="$problems" '
            FILENAME ~ /refused$/ { refused[$1]; next }
            $6 == "-" {
                # What could not be looked at is not gone.
                split($1, key, "/"); unseen = !whole || key[1] in refused
                if ($4 == "locked" && $3 > now && !unseen) print $1 " was locked and is not there any more" >>problems
                if ($4 == "locked" && $3 > now || unseen) print $1, $2, $3, $4, $5
                next }
            $2 == "-" { printf "%s %.0f %.0f new -\n", $1, now, now + lock; next }
            $4 == "free" { print $1, $2, $3, $4, $5; next }
            { until = $2 + lock > $3 ? $2 + lock : $3
              printf "%s %s %.0f %s %s\n", $1, $2, until, ($4 == "locked" && $7 == "-" ? "new" : $4), $5 }' \
        "$record/refused" "$record/joined" >"$record/points.new"
    save points
}

# RECORD/ends: each line of the record, and until when that point is locked for all that stands on it. The longest
# come first, so each point is come by once.
ends() {
    awk '{ split($1, key, "/"); print key[1], $3, $0 }' "$record/points" >"$record/keyed"
    sort -k1,1 -k2,2nr -o "$record/keyed" "$record/keyed"
    awk '
        function flush(   i, top, stack, name, count, list, j) {
            for (i = 1; i <= n; i++) {
                stack[top = 1] = names[i]
                while (top) {
                    name = stack[top--]
                    if (!(name in line) || name in end) continue
                    end[name] = until[i]
                    count = split(parents[name], list, ",")
                    for (j = 1; j <= count; j++) stack[++top] = vm "/" list[j]
                }
            }
            for (i = 1; i <= n; i++) print line[names[i]], end[names[i]]
            split("", line); split("", end); split("", parents); n = 0
        }
        $1 != vm { flush(); vm = $1 }
        { names[++n] = $3; until[n] = $5; parents[$3] = $7; line[$3] = $3 " " $4 " " $5 " " $6 " " $7 }
        END { flush() }' "$record/keyed" >"$record/ends"
    sort -o "$record/ends" "$record/ends"
}

# Gives the points in FILE that state, and what they stand on if the file says so.
become() {
    join -a 1 -e - -o 0,1.2,1.3,1.4,1.5,2.1,2.2 "$record/points" "$2" >"$record/joined"
    awk -v state="$1" '{ print $1, $2, $3, ($6 == "-" ? $4 : state), ($7 == "-" ? $5 : $7) }' \
        "$record/joined" >"$record/points.new"
    save points
}

# --- Locking and unlocking. Each takes VM/POINT by line; each puts those that are done into a file.

# Where it is by then, and not what its path leads to: it may have been moved before it was immutable, by a prune
# that deletes it or by somebody else, and was not immutable then: nor is it to stay so, since no record tells of it.
freeze() {
    enter "$root/$1" || return
    chattr +i . || return
    if cd -P . && [ "$PWD" = "$root/$1" ]; then return 0; fi
    chattr -i . || :
    return 1
}

freeze_all() {
    while read -r key; do
        if freeze "$key" 2>"$record/said"; then
            echo "$key"
        elif [ -d "$root/$key" ]; then
            tell "$key cannot be locked: $(said | sed 's/^[^:]*: //')"
        fi
    done
    cd "$root"
}

# `find` among the entries of the directories that stand in FILE, with what else is given.
below() {
    within=$1
    shift
    # What xargs adds comes last, and find wants it first.
    # shellcheck disable=SC2016  # for that shell to expand
    xargs -r sh -c 'n=$1; shift; while [ "$n" -gt 0 ]; do set -- "$@" "$1"; shift; n=$((n - 1)); done; exec find "$@"' \
        sh $(($# + 4)) -mindepth 1 -maxdepth 1 "$@" <"$within"
}

# The `vm` directories in frozen points of FILE, which are frozen then too.
freeze_vm_files() {
    below "$1" -name vm -type d -user "$uid" -exec chattr +i {} + -print
}

# What frozen points of FILE hold; their names, with what they stand on, go to stdout.
lock_contents() {
    freeze_vm_files "$1" >"$record/vm-files" || return 1
    cat "$1" "$record/vm-files" >"$record/directories"
    below "$record/directories" -type f \( -user "$uid" -exec chattr +i {} + -o -printf '%h\n' \) \
        >"$record/strangers" || return 1
    written >"$record/written" || return 1
    rm -f "$record/unread"
    {
        below "$1" -type f -regextype posix-extended -regex '.*/disk-[0-9]+\.qcow2' -exec head -v -c 4096 {} + ||
            touch "$record/unread"
    } | backing_files | sort -u >"$record/backing" || return 1
    [ ! -e "$record/unread" ] || return 1
    awk -v problems="$problems" '
        FILENAME ~ /strangers$/ { sub("/vm$", ""); why[$0] = "has files that are not the account'"'"'s" ; next }
        FILENAME ~ /written$/ {
            sub("/vm$", "", $1)
            why[$1] = "is still open for writing, since before it was locked, in " ($2 == "-" ? "a process that does not show it" : "process " $2)
            next }
        FILENAME ~ /backing$/ { on[$1] = on[$1] (on[$1] == "" ? "" : ",") $2; next }
        $0 in why { print $0 " " why[$0] >>problems; next }
        { print $0, $0 in on ? on[$0] : "none" }' \
        "$record/strangers" "$record/written" "$record/backing" "$1"
}

# POINT and PARENT for each name of a backing file in what `head -v` prints. A name of an image in another one's
# content is no harm: it locks for longer.
backing_files() {
    tr -c '[:print:]\n' '[\n*]' | awk '
        function digits(n,   s) { while (n--) s = s "[0-9]"; return s }
        BEGIN { point = digits(8) "T" digits(6) "Z-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
                image = "\\.\\./" point "/disk-[0-9]+\\.qcow2" }
        /^==> .* <==$/ { key = $2; sub("/[^/]*$", "", key); next }
        { while (match($0, image)) { print key, substr($0, RSTART + 3, 21); $0 = substr($0, RSTART + RLENGTH) } }'
}

# DIRECTORY and process of each file in them that was opened for writing before it became immutable; `-` where none
# shows it: it may be on its way in a socket, or only mapped. ext4 refuses what comes from there, XFS and btrfs do not.
written() {
    case $kind in ext*) return 0 ;; esac
    # fcntl(2): F_SETLEASE with F_RDLCK fails as long as anything may write. Anything else that fails is not taken for
    # nothing.
    # shellcheck disable=SC2016  # for perl to expand
    if command -v perl >/dev/null; then
        below "$record/directories" -type f -print0 | perl -0 -ne '
            chomp;
            my $good = open(my $file, "<", $_);
            $good &&= fcntl($file, 1024, 0);
            s{/[^/]*$}{} and print "$_ -\n" if !$good;' || return 1
    fi
    find /proc/[0-9]*/fdinfo -type f -exec grep -l '^flags:.*[12]$' {} + 2>/dev/null | sed 's|/fdinfo/|/fd/|' |
        xargs -r stat -L -c '%d:%i %n' 2>/dev/null | sort >"$record/writers" || :
    below "$record/directories" -type f -printf '%D:%i %h\n' | sort | join - "$record/writers" |
        sed 's|[^ ]* \([^ ]*\) /proc/\([0-9]*\)/.*|\1 \2|'
}

# Each directory comes after what is in it: until then its entries stay what they are.
unlock_contents() {
    freeze_vm_files "$1" >"$record/vm-files" || return 1
    cat "$1" "$record/vm-files" >"$record/directories"
    below "$record/directories" -type f -links +1 -printf '%h\n' | sed 's|/vm$||' | sort -u >"$record/linked"
    sort "$1" | join -v 1 - "$record/linked" >"$record/ending"
    while read -r key; do
        tell "$key stays locked: a file in it has another name too, which may be in a point that is still locked"
    done <"$record/linked"
    freeze_vm_files "$record/ending" >"$record/vm-files" || return 1
    below "$record/vm-files" -type f -user "$uid" -exec chattr -i {} + || return 1
    xargs -r chattr -i <"$record/vm-files" || return 1
    below "$record/ending" -type f -user "$uid" -exec chattr -i {} + || return 1
    xargs -r chattr -i <"$record/ending" || return 1
    cat "$record/ending"
}

# Does that with all points on stdin at once, and if something fails with each alone.
change() {
    freeze_all >"$record/frozen"
    if "$1" "$record/frozen" >"$record/done" 2>"$record/said"; then return 0; fi
    : >"$record/done.new"
    while read -r key; do
        # The first attempt may have got as far as to give it back to the account.
        echo "$key" | freeze_all >"$record/one"
        "$1" "$record/one" >>"$record/done.new" 2>"$record/said" ||
            tell "$key cannot be ${1%_contents}ed: $(said)"
    done <"$record/frozen"
    sort -u "$record/done.new" >"$record/done"
    rm "$record/done.new"
}

lock_points() {
    while :; do
        ends
        awk -v now="$now" '$4 == "new" || $4 == "free" && $6 > now { print $1 }' "$record/ends" |
            join -v 1 - "$record/tried" >"$record/todo"
        [ -s "$record/todo" ] || return 0
        sort -m -o "$record/tried" "$record/tried" "$record/todo"
        change lock_contents <"$record/todo"
        become locked "$record/done"
    done
}

unlock_points() {
    awk -v now="$now" '$4 == "locked" && $6 <= now { print $1 }' "$record/ends" |
        join - "$record/there" >"$record/todo"
    [ -s "$record/todo" ] || return 0
    change unlock_contents <"$record/todo"
    become free "$record/done"
    ends
}

# --- What it tells

# Replaces NAME in the present directory by RECORD/text, JSON that lacks its end, with a checksum of it: as the
# other records in a repository. In a sticky directory of root's nobody exchanges root's own file.
publish() {
    rm -f .lock-timer.?????? 2>/dev/null || :
    temporary=$(mktemp .lock-timer.XXXXXX 2>"$record/said") || return 1
    # A full disk must not cost the one that is there.
    if sealed >"$temporary" 2>"$record/said" && sync "$temporary" 2>"$record/said" &&
        chmod 644 "$temporary" && mv -f -T "$temporary" "$1" 2>"$record/said"; then return 0; fi
    rm -f "$temporary"
    return 1
}

sealed() {
    cat "$record/text" && printf ',\n "checksum": "%s"\n}\n' "$(sha256sum <"$record/text" | cut -c 1-16)"
}

# Seconds since 1970 as a moment: days to a date as in "chrono-Compatible Low-Level Date Algorithms", Hinnant.
MOMENT='function moment(t,   d, s, era, doe, yoe, doy, m, mp, y) {
    d = int(t / 86400); s = t - d * 86400; d += 719468; era = int(d / 146097); doe = d - era * 146097
    yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
    doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100)); mp = int((5 * doy + 2) / 153)
    m = mp < 10 ? mp + 3 : mp - 9; y = yoe + era * 400 + (m <= 2)
    return sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", y, m, doy - int((153 * mp + 2) / 5) + 1, int(s / 3600), int(s % 3600 / 60), s % 60)
}'

# In each VM's directory, where something changed or somebody took it away: which points are locked until when.
tell_points() {
    awk -v now="$now" -v ahead="$ahead" "$MOMENT"'
        FILENAME ~ /mine$/ { vms[++n] = $1; next }
        $4 == "locked" && $6 > now {
            split($1, key, "/")
            of[key[1]] = of[key[1]] (of[key[1]] ? "," : "") key[2] "=" moment($6 + ahead) }
        END { for (i = 1; i <= n; i++) print vms[i], of[vms[i]] }' \
        "$record/mine" "$record/ends" >"$record/told.new"
    find . -mindepth 2 -maxdepth 2 -name locked.json -type f -user 0 -printf '%h\n' 2>/dev/null | sed 's|^./||' |
        sort >"$record/standing" || :
    join "$record/told" "$record/standing" | sort >"$record/told.old"
    sed 's/ $//' "$record/told.new" | sort | comm -23 - "$record/told.old" >"$record/changed"
    while read -r vm points; do
        locked_text "$points" >"$record/text"
        if ! enter "$root/$vm" || ! publish locked.json; then
            echo "$vm"
            tell "$root/$vm/locked.json cannot be written: $(said)"
        fi
    done <"$record/changed" >"$record/untold"
    cd "$root"
    # The next look writes those.
    join -v 1 "$record/told.new" "$record/untold" >"$record/told.kept"
    mv -f "$record/told.kept" "$record/told.new"
    save told
}

locked_text() {
    printf '{\n "schema_version": 1,\n "points": {'
    [ -z "$1" ] || printf '%s' "$1" | sed 's/\([^=,]*\)=\([^,]*\)/\n  "\1": "\2"/g'
    [ -z "$1" ] || printf '\n '
    printf '}'
}

tell_timer() {
    awk -v at="$(date +%s)" -v lock="$lock" -v every="$every" -v clock="$clock" -v now="$now" -v all="$problems" "$MOMENT"'
        FILENAME ~ /ends$/ { if ($4 == "locked" && $6 > now) locked++; next }
        { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); if (!seen[$0]++ && ++n <= 50) said[n] = $0 }
        END {
            if (n > 50) said[50] = "and " (n - 49) " more, in " all
            printf "{\n \"schema_version\": 1,\n \"at\": \"%s\",\n \"lock\": %.0f,\n \"every\": %.0f,\n \"locked\": %d,\n", moment(at), lock, every, locked
            printf " \"clock\": \"%s\",\n \"problems\": [", clock
            for (i = 1; i <= n && i <= 50; i++) printf "%s\n  \"%s\"", (i > 1 ? "," : ""), said[i]
            printf "%s]", (n ? "\n " : "") }' "$record/ends" "$problems" >"$record/text"
    if ! publish lock-timer.json; then
        tell "$root/lock-timer.json cannot be written: $(said)"
        cat "$problems" >&2
        exit 1
    fi
}

main() {
    root=$1 lock=$3 every=$4 record=$5 whole=1
    whose "$2"
    enter "$root" || { echo "sendense-lock: $root is not there, or leads elsewhere" >&2; exit 1; }
    problems=$record/problems
    exec 9>"$record/running"
    flock -n 9 || { echo "sendense-lock: another one is running" >&2; exit 0; }
    [ -f repository.json ] || { echo "sendense-lock: $root is no repository: mount its disk" >&2; exit 1; }
    : >"$problems"
    : >"$record/tried"
    touch "$record/points" "$record/told"
    device=$(stat -c %d .) kind=$(stat -f -c %T .)
    check
    cd "$record"
    advance
    cd "$root"
    hold_repository
    take_over_vms
    remember
    lock_points
    unlock_points
    tell_points
    tell_timer
    cat "$problems" >&2
}

if [ "$1" = --check ]; then
    root=$2 problems=$(mktemp)
    whose "$3"
    check
    cat "$problems"
    rm "$problems"
else
    main "$@"
fi
