"""When a lock ends: by the record's own time, which a clock moves by a day at most, and only over a reboot."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.base.units import DAY, HOUR
from steps.repository import layout
from tests.locked_repository import LockedRepository, name_of

YEARS = 3650 * DAY


@pytest.fixture
def locked(on_ext4: LockedRepository) -> LockedRepository:
    on_ext4.point(0)
    on_ext4.run()
    return on_ext4


def rebooted(repository: LockedRepository, *, wall: float) -> None:
    """Up for a minute, and the clock has moved so far."""
    repository.boot = repository.boot[:-1] + ("0" if repository.boot[-1] != "0" else "1")
    repository.uptime = 60.0
    repository.wall += wall


def left(repository: LockedRepository) -> float:
    """Seconds of its own time until the point's lock ends."""
    now = (repository.record / "clock").read_text().split()[0]
    until = (repository.record / "points").read_text().split()[2]
    return float(until) - float(now)


@pytest.mark.parametrize("synchronized", [True, False], ids=["synchronized", "not synchronized"])
def test_a_clock_that_is_set_ahead_ends_no_lock(locked: LockedRepository, synchronized: bool) -> None:
    locked.synchronized = synchronized
    locked.wall += YEARS
    locked.uptime += HOUR
    locked.run()
    assert locked.states() == {name_of(0): "locked"}
    assert left(locked) == 30 * DAY - HOUR
    assert f"{YEARS - HOUR:.0f} s ahead" in (locked.root / layout.LOCK_TIMER).read_text()


def test_a_clock_that_is_set_back_delays_none(locked: LockedRepository) -> None:
    locked.wall -= YEARS
    locked.uptime += 30 * DAY
    locked.run()
    assert locked.states() == {name_of(0): "free"}


def test_how_long_the_machine_was_off_a_synchronized_clock_says(locked: LockedRepository) -> None:
    rebooted(locked, wall=8 * HOUR)
    locked.run()
    assert left(locked) == 30 * DAY - 8 * HOUR


def test_it_is_made_up_for_once_the_clock_is_synchronized(locked: LockedRepository) -> None:
    locked.synchronized = False
    rebooted(locked, wall=8 * HOUR)
    locked.run()
    assert left(locked) == 30 * DAY - 60
    locked.synchronized = True
    locked.pass_time(300)
    locked.run()
    assert left(locked) == 30 * DAY - 8 * HOUR - 300


def test_a_reboot_with_a_clock_that_is_years_ahead_is_worth_a_day(locked: LockedRepository) -> None:
    for count in range(1, 4):
        rebooted(locked, wall=YEARS)
        locked.run()
        assert left(locked) == 30 * DAY - count * (DAY + 60)


def test_a_reboot_with_a_clock_that_is_behind_takes_no_time_back(locked: LockedRepository) -> None:
    rebooted(locked, wall=-YEARS)
    locked.run()
    assert left(locked) == 30 * DAY - 60


def test_the_end_that_people_are_told_is_by_their_clock(locked: LockedRepository) -> None:
    locked.wall += HOUR
    locked.run()
    assert locked.told()[name_of(0)] == datetime.fromtimestamp(locked.wall + 30 * DAY, UTC)
    locked.synchronized = False
    before = locked.told()
    locked.wall += YEARS
    locked.run()
    assert locked.told() == before
