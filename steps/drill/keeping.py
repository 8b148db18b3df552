"""What a drill leaves beside a point's manifest: the picture, the serial log, and last the record that names
them."""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.hosts.host import Host
from steps.repository import layout, verification_records
from steps.repository.verification_records import DRILL_PICTURE, DRILL_SERIAL_LOG, Drill


class PointGoneError(SendenseError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(f"{path} on {host} was deleted while it was drilled: nothing was recorded")


def keep(host: Host, point: str, drill: Drill, picture: bytes | None, serial: bytes) -> Drill:
    """Records it with the point in the directory `point`, and returns the record as it is there. At no moment
    does a record name a file of another drill. Raises PointGoneError, StateError for a damaged record of an
    earlier drill, NoSpaceError, HostError."""
    if not host.exists(posixpath.join(point, layout.MANIFEST)):
        raise PointGoneError(point, host.name)
    before = verification_records.drill(host, point)
    passed_at = drill.at if drill.verdict == "passed" else None if before is None else before.passed_at
    if before is not None and (before.picture or before.serial_log):
        without = before.model_copy(update={"picture": None, "serial_log": None})
        verification_records.write(host, point, without)
    for name, content in ((DRILL_PICTURE, picture), (DRILL_SERIAL_LOG, serial)):
        path = posixpath.join(point, name)
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
