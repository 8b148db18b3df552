"""Files that disks are restored into: whether they are there, whole, under their names."""

from __future__ import annotations

from runner.base.errors import SendenseError
from runner.events.step_report import Cell, Row, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from steps.points.figures import speed_of
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.target import Target


class TargetExistsError(SendenseError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(f"{path} on {host} exists already and is not overwritten; --overwrite replaces it")


def is_delivered(host: Host, target: Target) -> bool:
    """Whether the file has its final name already: what has it is not what it was to replace."""
    return not host.exists(target.image.path) and state_of(host, target.final) not in (None, target.replaces)


class WrongPairError(SendenseError):
    def __init__(self, disk: StoredDisk, source: Serving, into: str) -> None:
        super().__init__(
            f"disk {disk.key} of {disk.point} is to be restored, but {source.image.path} is served and "
            f"{into} is written to; nothing was written"
        )


def is_there(ctx: Context, restored: Restored) -> bool:
    """Whether the file still is where it was, or has its final name by now."""
    host, target = ctx.host(restored.target.image.host), restored.target
    return host.exists(target.image.path) or is_delivered(host, target)


def row_of(out: Restored) -> StepReport:
    disk = out.target.disk
    cells = {
        "Size": Cell(value=disk.capacity, unit="bytes"),
        "Content": Cell(value=disk.data, unit="bytes"),
        **speed_of(out.seconds, out.moved),
    }
    return StepReport(rows=(Row(table="Disks", key=str(disk.key), cells=cells),))


def state_of(host: Host, path: str) -> tuple[int, int] | None:
    found = host.stat(path)
    return None if found is None else (found.size, found.mtime_ns)
