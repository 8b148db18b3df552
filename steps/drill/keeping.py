"""What a drill leaves with a point: the picture, the serial log, and last the record that names
them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.errors import LockedError
from runner.base.waiting import NEVER, until
from runner.hosts.host import Host, Lock
from steps.repository import layout, verification_records
from steps.repository.verification_records import DRILL_PICTURE, DRILL_SERIAL_LOG, Drill, PointGoneError

WAIT = 60.0
"""Seconds for another drill to have recorded its own, which takes a few round trips."""


def keep(host: Host, point: str, drill: Drill, picture: bytes | None, serial: bytes) -> Drill:
    """Records it with the point in the directory `point`, and returns the record as it is there. At no moment
    does a record name a file of another drill, also where one point is drilled twice at once. Raises
    PointGoneError, StateError for a damaged record of an earlier drill, NoSpaceError, LockedError, HostError.
    """
    with _alone(host, point, drill.run):
        return _keep(host, point, drill, picture, serial)


@contextmanager
def _alone(host: Host, point: str, run: str) -> Iterator[None]:
    """The VM's own lock is no use: a backup holds it for hours."""
    held: list[LockedError] = []

    def take() -> Lock | None:
        try:
            return host.lock(posixpath.join(posixpath.dirname(point), layout.DRILL_LOCK), f"run {run}")
        except LockedError as error:
            held.append(error)
            return None

    lock = until(take, stop=NEVER, timeout=WAIT, late=lambda: held[-1])
    try:
        yield
    finally:
        lock.release()


def _keep(host: Host, point: str, drill: Drill, picture: bytes | None, serial: bytes) -> Drill:
    if not host.exists(posixpath.join(point, layout.MANIFEST)):
        raise PointGoneError(point, host.name)
    before = verification_records.drill(host, point)
    passed_at = drill.at if drill.verdict == "passed" else None if before is None else before.passed_at
    if before is not None and (before.picture or before.serial_log):
        without = before.model_copy(update={"picture": None, "serial_log": None})
        verification_records.write(host, point, without)
    with verification_records.beside(host, point) as directory:
        for name, content in ((DRILL_PICTURE, picture), (DRILL_SERIAL_LOG, serial)):
            path = posixpath.join(directory, name)
            if content:
                host.write(path, content)
            else:
                host.remove(path)
    kept = drill.model_copy(
        update={
            "passed_at": passed_at,
            "picture": DRILL_PICTURE if picture else None,
            "serial_log": DRILL_SERIAL_LOG if serial else None,
        }
    )
    verification_records.write(host, point, kept)
    return kept
