"""What the account does while root's timer runs, and a timer that is killed while it does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base.units import DAY
from steps.repository import layout
from tests.eventually import eventually
from tests.locked_repository import (
    UID,
    VM,
    LockedRepository,
    become_account,
    call,
    flags,
    name_of,
    picture,
    shell_as_account,
)


@contextmanager
def swapping(vm: Path, victim: Path) -> Iterator[None]:
    """A process of the account's that puts links in the place of all that the timer is about to enter, again and again."""
    pid = os.fork()
    if pid == 0:
        try:
            become_account()
            _swap(vm, victim)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _swap(vm: Path, victim: Path) -> None:
    spare = vm / "spare"
    while True:
        for number in range(10, 20):
            point = vm / name_of(number)
            for path, target in ((point / layout.VM_FILES, victim / layout.VM_FILES), (point, victim)):
                try:
                    path.rename(spare)
                    path.symlink_to(target)
                    path.unlink()
                    spare.rename(path)
                except OSError:  # it is locked by now
                    if spare.exists() and not path.exists():
                        path.unlink(missing_ok=True)
                        spare.rename(path)
                    continue


def test_while_the_timer_runs_names_may_become_links_at_any_moment(on_ext4: LockedRepository, immutable: Path) -> None:
    good = on_ext4.point(0)
    for number in range(10, 20):
        on_ext4.point(number)
    before = picture(good)
    with swapping(good.parent, immutable):
        for _ in range(3):
            on_ext4.run()
            assert flags(good) == "i"
        on_ext4.pass_time(31 * DAY)
        on_ext4.run()
    assert picture(good) == before


ATTACKED_CHATTR = """#!/bin/sh
# Before each change of a name the account puts a link there if it can, and chattr follows it: every race is lost.
sign=$1
shift
for name; do
    setpriv --reuid=UID --regid=UID --clear-groups sh -c '
        [ "$1" != . ] || set -- "$(pwd -P)" "$2"
        if ! [ -d "$1" ]; then mv "$1" "$1.away" && ln -s "$2/manifest.json" "$1"
        elif [ INSTEAD = link ]; then mv -T "$1" "$1.away" && ln -s "$2" "$1"
        else mv -T "$1" "$1.away" && cp -r "$1.away" "$1"; fi
    ' sh "$name" VICTIM 2>/dev/null
done
for name; do
    shift
    [ "$name" = . ] || name=$(realpath "$name")
    set -- "$@" "$name"
done
exec /usr/bin/chattr "$sign" "$@"
"""


@contextmanager
def losing_every_race(repository: LockedRepository, victim: Path, instead: str) -> Iterator[None]:
    chattr = repository.fakes / "chattr"
    chattr.write_text(
        ATTACKED_CHATTR.replace("UID", str(UID)).replace("VICTIM", str(victim)).replace("INSTEAD", instead)
    )
    chattr.chmod(0o755)
    yield
    chattr.unlink()
    for away in sorted(repository.root.rglob("*.away"), reverse=True):
        call("chattr", "-R", "-i", away)
        away.rename(cleared(away.with_name(away.name.removesuffix(".away"))))


def cleared(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path


@pytest.fixture
def immutable(on_ext4: LockedRepository) -> Iterator[Path]:
    """Of root's, on the same file system: a directory that can be changed, and a file in it that cannot, and stays so."""
    found = on_ext4.root.parent / "immutable"
    (found / layout.VM_FILES).mkdir(parents=True)
    (found / layout.MANIFEST).write_text("root's")
    call("chattr", "+i", found / layout.MANIFEST)
    yield found
    assert (flags(found), flags(found / layout.VM_FILES), flags(found / layout.MANIFEST)) == ("", "", "i")


@pytest.mark.parametrize("instead", ["link", "directory"])
def test_what_is_there_just_in_time_is_not_taken_for_the_point(
    on_ext4: LockedRepository, immutable: Path, instead: str
) -> None:
    point = on_ext4.point(0)
    with losing_every_race(on_ext4, immutable, instead):
        assert any(point.name in problem for problem in on_ext4.run())
    assert on_ext4.run() == []
    on_ext4.pass_time(31 * DAY)
    with losing_every_race(on_ext4, immutable, instead):
        on_ext4.run()


def test_a_point_that_is_being_deleted_just_then_can_be_deleted(on_ext4: LockedRepository) -> None:
    point, other = on_ext4.point(0), on_ext4.point(1)
    chattr = on_ext4.fakes / "chattr"
    chattr.write_text(
        f'#!/bin/sh\ncase $PWD in *{point.name}) mv {point} {point}.dropped ;; esac\nexec /usr/bin/chattr "$@"\n'
    )
    chattr.chmod(0o755)
    on_ext4.run()
    chattr.unlink()
    assert shell_as_account(f"rm -r {point}.dropped", cwd=point.parent) == [0]
    assert (on_ext4.run(), flags(other)) == ([], "i")


FAILING_CHATTR = """#!/bin/sh
# Of the directories of two points it unlocks the first alone; from then on the account puts a link in its place.
case $* in
    "-i FIRST SECOND") /usr/bin/chattr -i FIRST; exit 1 ;;
    "-i FIRST/"*)
        setpriv --reuid=UID --regid=UID --clear-groups sh -c 'mv -T FIRST FIRST.away && ln -s THIRD FIRST' 2>/dev/null ;;
esac
exec /usr/bin/chattr "$@"
"""


def test_what_is_unlocked_again_since_another_one_failed_is_not_another_one_by_then(on_ext4: LockedRepository) -> None:
    first, second = on_ext4.point(0), on_ext4.point(1)
    on_ext4.run()
    on_ext4.pass_time(10 * DAY)
    third = on_ext4.point(2)
    on_ext4.run()
    on_ext4.pass_time(21 * DAY)
    names = {name: f"{VM}/{point.name}" for name, point in (("FIRST", first), ("SECOND", second))}
    text = FAILING_CHATTR.replace("UID", str(UID)).replace("THIRD", third.name)
    for name, path in names.items():
        text = text.replace(name, path)
    (on_ext4.fakes / "chattr").write_text(text)
    (on_ext4.fakes / "chattr").chmod(0o755)
    # One that was killed at the same before.
    (on_ext4.record / "done.new").write_text(f"{VM}/{third.name}\n")
    on_ext4.run()
    assert {flags(path) for path in (third, *third.rglob("*"))} == {"i"}
    assert on_ext4.states() == {first.name: "free", second.name: "free", third.name: "locked"}


@pytest.mark.parametrize("last", range(4, 8))
def test_nor_is_it_when_the_timer_was_killed_before(
    on_ext4: LockedRepository, immutable: Path, last: int, instead: str = "link"
) -> None:
    on_ext4.point(0)
    on_ext4.run()
    on_ext4.pass_time(31 * DAY)
    killed_at(on_ext4, last)
    with losing_every_race(on_ext4, immutable, instead):
        on_ext4.run()


def killed_at(repository: LockedRepository, last: int) -> bool:
    """The timer, killed behind the call of chattr with that number; False if it was done before."""
    chattr, calls, timer = (repository.fakes / name for name in ("chattr", "calls", "timer"))
    chattr.write_text(
        f'#!/bin/sh\necho >>{calls}\n[ "$(wc -l <{calls})" -lt {last} ] || {{\n'
        f'    /usr/bin/chattr "$@"; kill -9 "$PPID" "$(cat {timer})"; }}\nexec /usr/bin/chattr "$@"\n'
    )
    chattr.chmod(0o755)
    calls.write_text("")
    argv = ["sh", "-c", f'echo $$ >{timer}; exec "$@"', "sh", *repository.argv()]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    chattr.unlink()
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    free = ("flock", "-n", repository.record / "running", "true")
    assert eventually(lambda: subprocess.run(free, check=False).returncode == 0)
    return done.returncode != 0


@pytest.mark.parametrize("expired", [False, True], ids=["locking", "unlocking"])
def test_a_timer_that_is_killed_at_any_moment_is_made_up_for_by_the_next(
    on_ext4: LockedRepository, expired: bool
) -> None:
    """Killed behind each of the commands by which it changes what is immutable."""
    for number in range(2):
        on_ext4.point(number, on=number - 1 if number else None)
    if expired:
        on_ext4.run()
        on_ext4.pass_time(31 * DAY)
    last = 1
    while killed_at(on_ext4, last):
        last += 1
    assert last > 3
    assert on_ext4.run() == []
    assert set(on_ext4.states().values()) == ({"free"} if expired else {"locked"})
    found = {flags(path) for number in range(2) for path in (on_ext4.root / VM / name_of(number)).rglob("*")}
    assert found == ({""} if expired else {"i"})
