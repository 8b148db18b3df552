#!/bin/sh
# Installs the lock of a repository on its host, or changes it. What stands before this in the script that is printed
# says which, and has the files; it changes nothing if the lock would not hold.
# shellcheck disable=SC2154  # they stand before it
set -eu

fail() {
    printf 'sendense-lock: %s\n' "$1" >&2
    exit 1
}

# Replaces a file whole, by what stands on stdin.
place() {
    cat >"$1.new"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
    printf 'wrote %s\n' "$1"
}

# In a directory of root's own, entered before: in the repository's the account may rename it.
can_be_immutable() {
    here=$(mktemp -d "$repository/.lock-timer.XXXXXX")
    cd -P "$here"
    if chattr +i . && chattr -i .; then can=1; else can=; fi
    cd "$repository"
    rmdir "$here"
    [ -n "$can" ]
}

[ "$(id -u)" = 0 ] || fail 'only root can install it: run it as root'
for command in systemctl chattr lsattr flock getent mktemp sha256sum find xargs join comm awk; do
    command -v "$command" >/dev/null || fail "$command is not installed here: install it first"
done
id -u -- "$account" >/dev/null 2>&1 || fail "there is no account $account here: give it by --account"
cd -P "$repository" 2>/dev/null || fail "$repository is not there: mount its disk"
[ "$PWD" = "$repository" ] || fail "$repository leads to $PWD: write that as the repository's path"
[ -f repository.json ] || fail "$repository is no repository: mount its disk, or create it with \`sendense init\`"
owner=$(stat -c %U .)
case $owner in
    root | "$account") ;;
    *) fail "$repository belongs to $owner, not to $account: give the account that writes it by --account" ;;
esac

umask 022
program >"$installed.new"
chmod 755 "$installed.new"
problems=$("$installed.new" --check "$repository" "$account")
if [ -n "$problems" ]; then
    rm -f "$installed.new"
    printf '%s\n' "$problems" >&2
    fail 'nothing was installed: the lock would not hold'
fi
if ! can_be_immutable; then
    rm -f "$installed.new"
    fail "the file system of $repository ($(stat -f -c %T .)) cannot make files immutable: use ext4, XFS or btrfs"
fi

mv -f "$installed.new" "$installed"
printf 'wrote %s\n' "$installed"
service | place "/etc/systemd/system/$unit.service" 644
timer | place "/etc/systemd/system/$unit.timer" 644
systemctl daemon-reload
systemctl enable --quiet --now "$unit.timer"
systemctl start "$unit.service"
cat lock-timer.json
