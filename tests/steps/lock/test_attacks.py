"""What the account of a runner tries against locked points, and against root's timer while it runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.sealed import seal, unseal
from runner.base.units import DAY
from steps.lock.told import Told
from steps.repository import layout
from tests.locked_repository import (
    UID,
    VM,
    LockedRepository,
    as_account,
    call,
    flags,
    mounted,
    name_of,
    picture,
    shell_as_account,
)

OTHER_VM = VM.replace("pgtest1", "other")
DESTRUCTION = (
    f"rm -rf {VM}",
    f"rm -rf {VM}/{name_of(0)}",
    f"rm -f {VM}/{name_of(0)}/vm/config.json",
    f": >{VM}/{name_of(0)}/disk-2000.qcow2",
    f"echo x >>{VM}/{name_of(0)}/manifest.json",
    f"truncate -s 0 {VM}/{name_of(0)}/disk-2000.blake3",
    f"mv {VM}/{name_of(0)} {VM}/{name_of(0)}.dropped",
    f"mv {VM} gone-{VM}",
    f"cp {VM}/{name_of(0)}/manifest.json {VM}/{name_of(0)}/disk-2000.blake3",
    f"mv -f {VM}/{name_of(1)}/manifest.json {VM}/{name_of(0)}/manifest.json",
    f"ln {VM}/{name_of(0)}/disk-2000.qcow2 mine",
    f"touch {VM}/{name_of(0)}/new",
    f"ln -s /etc/passwd {VM}/{name_of(0)}/vm/link",
    f"chmod 777 {VM}/{name_of(0)} {VM}/{name_of(0)}/*",
    f"chmod 777 {VM}",
    "chmod 777 .",
    f"chattr -R -i {VM}",
    "mv ../repository ../gone",
    "rm -rf ../repository",
    "rm -f repository.json",
    "mv repository.json other.json",
    "rm -f lock-timer.json",
    f"mv {VM}/locked.json {VM}/mine.json",
    f"echo '{{}}' >{VM}/locked.json",
    f"setfattr -n user.x -v y {VM}/{name_of(0)}/manifest.json",
    f"fallocate -p -o 0 -l 4096 {VM}/{name_of(0)}/disk-2000.qcow2",
    f"mount --bind /tmp {VM}/{name_of(0)}",
    f"unshare --user --map-root-user chattr -i {VM}/{name_of(0)}/manifest.json",
    f"unshare --user --map-root-user chown 0 {VM}/{name_of(0)}",
)
UNSEEN = f"unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none {VM}/{name_of(0)} && mount --bind /tmp .'"
"""An account may mount over what it likes where nobody else sees it."""


def test_with_the_key_of_a_runner_a_locked_point_stays_as_it_is(repository: LockedRepository) -> None:
    points = [repository.point(number, on=number - 1 if number else None) for number in range(3)]
    repository.run()
    before = [picture(point) for point in points]
    assert not any(code == 0 for code in shell_as_account(*DESTRUCTION, cwd=repository.root))
    shell_as_account(UNSEEN, cwd=repository.root)
    assert [picture(point) for point in points] == before
    assert repository.run() == []
    assert set(repository.told()) == {point.name for point in points}
    # What an ordinary night needs the account still has.
    assert (
        shell_as_account(
            f"mkdir {VM}/20261201T000000Z-00000000.partial",
            f"mv {VM}/20261201T000000Z-00000000.partial {VM}/{name_of(30)}",
            f"rm -r {VM}/{name_of(30)}",
            f"mkdir {VM}/{name_of(0)}.marks && touch {VM}/{name_of(0)}.marks/verified.json",
            f"flock -n {VM}/.lock true",
            f"mkdir {OTHER_VM}",
            "echo >>log.jsonl",
            cwd=repository.root,
        )
        == [0] * 7
    )


@pytest.fixture
def victim(repository: LockedRepository) -> Iterator[Path]:
    """Of root's, on the same file system: what links lead to. It is as it was at the end."""
    found = repository.root.parent / "victim"
    (found / layout.VM_FILES).mkdir(parents=True)
    for name in (layout.MANIFEST, layout.image(2000), f"{layout.VM_FILES}/{layout.VM_CONFIG}"):
        (found / name).write_text("root's")
    os.chown(found / layout.MANIFEST, UID, UID)
    before = picture(found), owners(found)
    yield found
    assert (picture(found), owners(found)) == before
    assert {flags(path) for path in (found, *found.rglob("*"))} == {""}


def owners(directory: Path) -> list[int]:
    return [path.lstat().st_uid for path in sorted((directory, *directory.rglob("*")))]


def test_no_link_leads_the_timer_out_of_the_repository(repository: LockedRepository, victim: Path) -> None:
    point = repository.point(0)
    vm = point.parent
    twisted = repository.point(1)

    def twist() -> None:
        (repository.root / layout.LOG).symlink_to(victim / layout.MANIFEST)
        (repository.root / OTHER_VM).symlink_to(victim)
        (repository.root / layout.LOCK_TIMER).symlink_to(victim / layout.MANIFEST)
        (vm / layout.LOCKED).symlink_to(victim / layout.MANIFEST)
        (vm / name_of(5)).symlink_to(victim)
        (vm / f"{name_of(6)}\n{name_of(7)}").mkdir()
        (repository.root / f"{VM}\nx").mkdir()
        shutil.rmtree(twisted / layout.VM_FILES)
        (twisted / layout.VM_FILES).symlink_to(victim / layout.VM_FILES)
        (twisted / "disk-1.qcow2").symlink_to(victim / layout.image(2000))
        (twisted / f"disk-2.qcow2\n{name_of(0)}").symlink_to(victim)
        (twisted / "deep").mkdir()
        (twisted / "deep" / "down").symlink_to(victim)

    as_account(twist)
    problems = repository.run()
    assert any(OTHER_VM in problem for problem in problems)
    assert any(layout.LOG in problem for problem in problems)
    assert flags(point) == "i"
    assert set(repository.told()) == {point.name, twisted.name}
    repository.pass_time(31 * DAY)
    repository.run()
    assert flags(point) == ""


def test_what_the_account_says_of_dates_and_locks_shortens_none(on_ext4: LockedRepository) -> None:
    """In manifests, in the names of points, and in the files by which the timer tells what it did."""
    made = on_ext4.point(0)
    point = made.rename(made.with_name("20010101T000000Z-beef"))
    for forged, words in {
        point / layout.MANIFEST: {"published": "2001-01-01T00:00:00Z", "stored": "2001-01-01T00:00:00Z", "lock": 0},
        point.parent / layout.LOCKED: {"points": {point.name: "2001-01-01T00:00:00Z"}},
        on_ext4.root / layout.LOCK_TIMER: {"lock": 0, "locked": 0},
        on_ext4.root / layout.MARKER: {"uuid": "x", "lock": 0},
    }.items():
        forged.write_bytes(seal({"schema_version": 1, **words}))
        os.chown(forged, UID, UID)
    assert on_ext4.run() == []
    assert on_ext4.told() == {point.name: datetime.fromtimestamp(on_ext4.wall + 30 * DAY, UTC)}
    on_ext4.pass_time(30 * DAY - 1)
    on_ext4.run()
    assert flags(point) == "i"


def test_files_of_somebody_else_are_not_touched_and_such_a_point_is_told(
    repository: LockedRepository, victim: Path
) -> None:
    """Kernels let an account link what is not its own unless fs.protected_hardlinks is set."""
    point = repository.point(0)
    os.link(victim / layout.image(2000), point / "disk-1.qcow2")
    assert any("not the account's" in problem for problem in repository.run())
    assert repository.told() == {}
    call("chattr", "-i", point)
    (point / "disk-1.qcow2").unlink()
    assert repository.run() == []
    assert list(repository.told()) == [point.name]


def test_a_file_with_another_name_stays_locked(on_ext4: LockedRepository) -> None:
    """Else the lock of one point would end with that of another, which an attacker made with links to its files."""
    old, new = on_ext4.point(0), on_ext4.point(1)
    (old / layout.digests(2000)).unlink()
    os.link(new / layout.image(2000), old / layout.digests(2000))
    before = picture(new)
    (on_ext4.root / VM / name_of(1)).rename(on_ext4.root / "kept")
    on_ext4.run()
    (on_ext4.root / "kept").rename(on_ext4.root / VM / name_of(1))
    on_ext4.pass_time(20 * DAY)
    on_ext4.run()
    on_ext4.pass_time(15 * DAY)
    assert any("another name" in problem for problem in on_ext4.run())
    shell_as_account(f"echo x >>{VM}/{name_of(0)}/disk-2000.blake3", cwd=on_ext4.root)
    assert picture(new) == before


def test_a_name_that_is_no_text_does_not_make_what_the_timer_tells_unreadable(on_ext4: LockedRepository) -> None:
    """chattr names the file that it cannot change, as one of which somebody holds a lease (fcntl(2), F_SETLEASE)."""
    point = on_ext4.point(0)
    named = os.fsencode(point) + b"/\xff"
    Path(os.fsdecode(named)).touch()
    on_ext4.give(point)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with Path(os.fsdecode(named)).open("rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        (problem,) = on_ext4.run()
    signal.signal(signal.SIGIO, before)
    told = unseal((on_ext4.root / layout.LOCK_TIMER).read_bytes(), Told, 1)
    assert (told.problems, told.locked) == ((problem,), 0)
    assert problem.startswith(f"{VM}/{point.name} cannot be locked: chattr: ")
    assert on_ext4.run() == []


@pytest.mark.parametrize("repository", ["xfs", "btrfs"], indirect=True)
def test_a_point_that_is_open_for_writing_is_not_called_locked_before_it_is_closed(
    repository: LockedRepository,
) -> None:
    """These file systems let a descriptor write that was opened before the file became immutable; ext4 does not."""
    point = repository.point(0)
    with (point / layout.image(2000)).open("r+b"):
        assert any(f"in process {os.getpid()}" in problem for problem in repository.run())
        assert flags(point / layout.image(2000)) == "i"
        assert repository.told() == {}
    assert repository.run() == []
    assert list(repository.told()) == [point.name]


@pytest.mark.parametrize("repository", ["xfs", "btrfs"], indirect=True)
def test_nor_is_one_of_which_no_process_shows_that(repository: LockedRepository) -> None:
    point = repository.point(0)
    one, other = socket.socketpair()
    with one, other:
        with (point / layout.image(2000)).open("r+b") as file:
            socket.send_fds(one, [b"x"], [file.fileno()])
        assert any("in a process that does not show it" in problem for problem in repository.run())
        assert repository.told() == {}
    assert repository.run() == []
    assert list(repository.told()) == [point.name]


def test_what_is_mounted_over_a_directory_is_not_taken_for_it(on_ext4: LockedRepository) -> None:
    """Nor is what stands below taken for gone: what was unlocked would be locked anew."""
    point = on_ext4.point(0)
    on_ext4.run()
    on_ext4.pass_time(31 * DAY)
    on_ext4.run()
    call("mount", "-t", "tmpfs", "tmpfs", point.parent)
    try:
        assert any("nothing in it is locked" in problem for problem in on_ext4.run())
        assert list(point.parent.iterdir()) == []
    finally:
        call("umount", point.parent)
    assert on_ext4.run() == []
    assert on_ext4.states() == {point.name: "free"}


def test_a_locked_point_that_is_gone_is_told_until_its_lock_would_have_ended(on_ext4: LockedRepository) -> None:
    point = on_ext4.point(0)
    on_ext4.run()
    call("chattr", "-R", "-i", point)
    shutil.rmtree(point)
    assert any(point.name in problem for problem in on_ext4.run())
    on_ext4.pass_time(31 * DAY)
    assert on_ext4.run() == []
    assert on_ext4.states() == {}


def test_two_thousand_directories_hide_no_point(tmp_path: Path) -> None:
    many = (int(os.environ.get("TORTURE", "0")) and 100_000) or 2_000
    with mounted("ext4", (8192 if many > 2_000 else 64) << 20) as top:
        repository = LockedRepository.create(top, tmp_path)
        point = repository.point(0)
        repository.run()
        before = picture(point)

        def flood() -> None:
            for number in range(many):
                (point.parent / f"20270101T000000Z-{number % 65536:04x}{'' if number < 65536 else '.dropped'}").mkdir()
                (repository.root / f"no-vm-{number}").mkdir()

        as_account(flood)
        new = repository.point(1)
        repository.run()
        assert picture(point) == before
        assert flags(new) == "i"
