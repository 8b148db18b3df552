"""What root's timer locks, for how long, and what it tells of that."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from runner.base.model import Model
from runner.base.sealed import unseal
from runner.base.units import DAY, MiB
from steps.lock.timer import LockTimer
from steps.repository import layout
from tests.locked_repository import VM, LockedRepository, call, flags, name_of, shell_as_account

UNIT = "sendense-lock-main"


def test_a_point_is_immutable_with_all_that_is_in_it(repository: LockedRepository) -> None:
    point = repository.point(0)
    assert repository.run() == []
    assert {str(path.relative_to(point)): flags(path) for path in (point, *point.rglob("*"))} == {
        ".": "i",
        "manifest.json": "i",
        "disk-2000.qcow2": "i",
        "disk-2000.blake3": "i",
        "vm": "i",
        "vm/config.json": "i",
    }
    assert flags(repository.root / layout.MARKER) == "i"
    assert list(repository.told()) == [point.name]


def test_after_its_lock_a_point_is_the_accounts_again_and_not_locked_anew(repository: LockedRepository) -> None:
    point = repository.point(0)
    repository.run()
    repository.pass_time(30 * DAY - 1)
    repository.run()
    assert flags(point) == "i"
    repository.pass_time(1)
    assert repository.run() == repository.run() == []
    assert [flags(path) for path in (point, *point.rglob("*"))] == [""] * 6
    assert repository.told() == {}


def test_what_a_locked_point_stands_on_is_locked_as_long(on_ext4: LockedRepository) -> None:
    on_ext4.point(0)
    on_ext4.run()
    on_ext4.pass_time(10 * DAY)
    on_ext4.point(1, on=0)
    on_ext4.run()
    on_ext4.pass_time(25 * DAY)
    on_ext4.point(2)
    on_ext4.run()
    assert on_ext4.states() == {name_of(0): "locked", name_of(1): "locked", name_of(2): "locked"}
    on_ext4.pass_time(5 * DAY)
    on_ext4.run()
    assert on_ext4.states() == {name_of(0): "free", name_of(1): "free", name_of(2): "locked"}
    on_ext4.point(3, on=1)
    on_ext4.run()
    assert set(on_ext4.states().values()) == {"locked"}
    assert flags(on_ext4.root / VM / name_of(0)) == "i"


def test_what_somebody_made_writable_again_is_locked_again(on_ext4: LockedRepository) -> None:
    point = on_ext4.point(0)
    on_ext4.run()
    until = on_ext4.told()
    shell_as_account(f"echo first >>{layout.LOG}", cwd=on_ext4.root)
    on_ext4.run()
    call("chattr", "-R", "-i", on_ext4.root)
    call("chattr", "-a", on_ext4.root / layout.LOG)
    on_ext4.pass_time(DAY)
    assert on_ext4.run() == []
    assert {flags(path) for path in (point, *point.rglob("*"), on_ext4.root / layout.MARKER)} == {"i"}
    assert flags(on_ext4.root / layout.LOG) == "a"
    assert on_ext4.told() == until


def test_a_longer_lock_lengthens_and_a_shorter_one_shortens_nothing(on_ext4: LockedRepository) -> None:
    on_ext4.point(0)
    on_ext4.run()
    first = on_ext4.told()[name_of(0)]
    on_ext4.run(lock=DAY)
    assert on_ext4.told()[name_of(0)] == first
    on_ext4.run(lock=60 * DAY)
    assert on_ext4.told()[name_of(0)] == first + timedelta(days=30)
    on_ext4.run(lock=DAY)
    assert on_ext4.told()[name_of(0)] == first + timedelta(days=30)


def test_the_log_can_only_be_appended_to(on_ext4: LockedRepository) -> None:
    log = on_ext4.root / layout.LOG
    on_ext4.run()
    shell_as_account(f"echo first >>{layout.LOG}", cwd=on_ext4.root)
    on_ext4.run()
    assert flags(log) == "a"
    tried = (f": >{layout.LOG}", f"rm -f {layout.LOG}", f"mv {layout.LOG} x", f"echo second >>{layout.LOG}")
    assert [code == 0 for code in shell_as_account(*tried, cwd=on_ext4.root)] == [False, False, False, True]
    assert log.read_text() == "first\nsecond\n"


def test_what_it_tells_is_sealed_and_roots(on_ext4: LockedRepository) -> None:
    point = on_ext4.point(0)
    (point.parent / f"{name_of(1)}").touch()
    on_ext4.run()
    timer = unseal((on_ext4.root / layout.LOCK_TIMER).read_bytes(), Told, 1)
    assert (timer.at.timestamp(), timer.lock, timer.every, timer.locked) == (on_ext4.wall, 30 * DAY, 300, 1)
    assert (timer.clock, timer.problems) == ("synchronized", ())
    for told in (on_ext4.root / layout.LOCK_TIMER, point.parent / layout.LOCKED):
        assert (told.stat().st_uid, told.stat().st_mode & 0o777) == (0, 0o644)
    assert on_ext4.told() == {point.name: datetime.fromtimestamp(on_ext4.wall + 30 * DAY, UTC)}
    written = (point.parent / layout.LOCKED).stat()
    on_ext4.pass_time(300)
    on_ext4.run()
    assert (point.parent / layout.LOCKED).stat() == written


def test_a_full_disk_costs_nothing_that_it_told_and_is_made_up_for(on_ext4: LockedRepository) -> None:
    on_ext4.point(0)
    on_ext4.run()
    told = on_ext4.told()
    second = on_ext4.point(1)
    filler = on_ext4.root.parent / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(MiB)):
            pass
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    done = subprocess.run(on_ext4.argv(), capture_output=True, text=True, timeout=60, check=False)
    full = [
        f"{path} cannot be written" in done.stderr
        for path in (second.parent / layout.LOCKED, on_ext4.root / layout.LOCK_TIMER)
    ]
    assert (done.returncode, full) == (1, [True, True]), done.stderr
    assert (on_ext4.told(), flags(second)) == (told, "i")
    filler.unlink()
    assert on_ext4.run() == []
    assert {*on_ext4.told()} == {name_of(0), second.name}


class Told(Model):
    """lock-timer.json"""

    schema_version: Literal[1]
    at: datetime
    lock: int
    every: int
    locked: int
    clock: str
    problems: tuple[str, ...]


def test_each_directory_that_a_vm_gets_is_known_to_the_timer(on_ext4: LockedRepository) -> None:
    names = ["pgtest1", "Ünïcode and more", "x" * 200, "a.b_c-d", "-", "12345678-1234", "", "\n"]
    uuid = "12345678-1234-1234-1234-123456789ABC"
    points = [on_ext4.point(0, vm=vm) for vm in {layout.vm_directory(name, uuid) for name in names}]
    assert on_ext4.run() == []
    assert {flags(point) for point in points} == {"i"}


@pytest.mark.parametrize("repository", ["xfs"], indirect=True)
def test_it_needs_no_more_than_its_service_grants(repository: LockedRepository) -> None:
    """As systemd starts it: root with these capabilities alone."""
    granted = re.search("CapabilityBoundingSet=(.*)", LockTimer("main", "/r", "backup", DAY).texts()[f"{UNIT}.service"])
    assert granted is not None
    bounding = ",".join(["-all", *(f"+{one.removeprefix('CAP_').lower()}" for one in granted[1].split())])
    repository.capabilities = bounding
    point = repository.point(0)
    assert repository.run() == []
    assert repository.told().keys() == {point.name}
    repository.pass_time(31 * DAY)
    assert repository.run() == []
    assert flags(point) == ""
