"""What the timer tells of itself, and what a doctor makes of it: whether anything holds to the lock that a
job asks for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from runner.base.errors import Interrupted, SendenseError
from runner.base.sealed import Damaged, unseal
from runner.base.units import DAY, MINUTE, counted, human_seconds
from runner.events.check_results import Observation, good, met, noted, wrong
from runner.hosts.host import Host
from steps.lock.timer import LockTimer
from steps.repository import layout, locked
from steps.repository.recorded import Amount, Recorded, UtcTime

SCHEMA_VERSION: Literal[1] = 1

MISSED = 3
"""Times `every` after which it is not only late: its first look at 10,000 points takes a minute."""


class Told(Recorded):
    """lock-timer.json beside a repository's marker; root's timer writes it each time."""

    schema_version: Literal[1] = SCHEMA_VERSION
    at: UtcTime
    lock: Amount
    """Seconds."""
    every: Annotated[int, Field(ge=1)]
    """Seconds from one look to the next."""
    locked: Amount
    """Points that are locked now."""
    clock: str
    """``synchronized``, or what is odd about it, in words."""
    problems: tuple[str, ...]


class NotRootsError(SendenseError):
    """The account that writes to the repository may have written it."""

    def __init__(self, path: str, host: str) -> None:
        super().__init__(
            f"{path} on {host} is not root's, so that nothing in it is believed: run what `sendense "
            "lock-timer` prints as root there"
        )


def read(host: Host, root: str) -> Told | None:
    """Of the repository at `root`; None: no timer ever looked there. Raises NotRootsError, StateError for
    damage, NewerError."""
    path = posixpath.join(root, layout.LOCK_TIMER)
    if not host.exists(path):
        return None
    if not locked.is_roots(host, path):
        raise NotRootsError(path, host.name)
    try:
        return unseal(host.read(path, limit=layout.RECORD_LIMIT), Told, SCHEMA_VERSION)
    except Damaged as error:
        raise error.error(f"{path} on {host.name}") from error


def absent(host: Host, path: str, lock: float) -> str:
    """Why nothing locks points in the repository at `path`, in words; empty where something does, or its
    lock is none. Raises CommandError, HostError."""
    if not lock:
        return ""
    if why := locked.cannot_be_immutable(host, path):
        return why
    return "" if host.exists(posixpath.join(path, layout.LOCK_TIMER)) else _not_installed(host, path)


def examine(host: Host, name: str, path: str, lock: float | None) -> Iterator[Observation]:
    """For a doctor, of the repository `name` at `path`, whose `lock` the job says."""
    subject = f"repository {name}"
    try:
        if lock and (why := locked.cannot_be_immutable(host, path)):
            yield wrong(subject, "that it can be locked", why)
            return
        told = read(host, path)
    except Interrupted:
        raise
    except SendenseError as error:
        yield met(subject, "its lock", error)
        return
    if told is None:
        if lock:
            yield wrong(subject, "its lock", _not_installed(host, path))
        return
    yield _alive(host, name, told)
    yield from _differs(host, subject, told, lock)
    if told.problems:
        first, *more = told.problems
        others = f", and {counted(len(more), 'more problem')}" if more else ""
        found = f"the timer on {host.name} says: {first}{others}"
        yield wrong(subject, "what is not locked", found, f"see {posixpath.join(path, layout.LOCK_TIMER)}")
    if told.clock != "synchronized":
        yield noted(
            subject,
            "the clock that its lock goes by",
            f"the clock of {host.name} is {told.clock}; locks go by the time that the machine is up, and by "
            "how long it was off only where its clock is synchronized",
        )


def _alive(host: Host, name: str, told: Told) -> Observation:
    subject, looked_at = f"repository {name}", "its lock"
    now = datetime.fromtimestamp(int(_output(host, "date", "+%s")), UTC)
    age, every = (now - told.at).total_seconds(), human_seconds(told.every)
    unit = f"{LockTimer.unit_of(name)}.timer"
    if age < -told.every:
        found = f"its timer ran at {told.at:%Y-%m-%d %H:%M}Z, which the clock of {host.name} has not reached"
        return wrong(subject, looked_at, found, f"set that clock, then see `systemctl status {unit}` there")
    if age > MISSED * told.every:
        found = (
            f"its timer runs every {every}, and ran last {human_seconds(age)} ago: new points are not locked"
        )
        return wrong(subject, looked_at, found, f"see `systemctl status {unit}` on {host.name}")
    return good(
        subject,
        looked_at,
        f"{counted(told.locked, 'point')} locked, looked at {human_seconds(max(0, age))} ago",
    )


def _differs(host: Host, subject: str, told: Told, lock: float | None) -> Iterator[Observation]:
    """The lock of the timer from that of the job."""
    looked_at, there = "how long its lock is", f"root of {host.name} locks its points for {_days(told.lock)}"
    if not lock:
        yield noted(subject, looked_at, f"{there}, and the job says no `lock`", "write it there too")
    elif told.lock < round(lock):
        found = f"{there}, the job says {_days(lock)}"
        yield wrong(subject, looked_at, found, "run what `sendense lock-timer` prints as root there again")
    elif told.lock > round(lock):
        yield noted(subject, looked_at, f"{there}, the job says {_days(lock)} only")


def _not_installed(host: Host, path: str) -> str:
    return (
        f"nothing locks the restore points in {path}: run what `sendense lock-timer` prints as root on "
        f"{host.name}"
    )


def _days(seconds: float) -> str:
    return f"{seconds / DAY:g} d" if seconds >= DAY else human_seconds(seconds)


def _output(host: Host, *argv: str) -> str:
    return host.run(argv, timeout=MINUTE).stdout.decode(errors="replace").strip()
