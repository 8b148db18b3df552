"""Failures of NVMe disks, told as those of other disks are.

QEMU's NVMe has no `werror` and `rerror`: the guest gets the error and the machine runs on, without an event
(looked: QEMU 7.2, hw/nvme/ns.c; tried). QEMU counts them all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import JsonValue

from steps.boot.running import Monitor, MonitorEvent


class NvmeErrors:
    """A `steps.boot.running.Monitor` that tells the first failure of each disk as a `BLOCK_IO_ERROR`.

    `overlays`: block node of the disk → the size of its overlay in bytes. A write that failed beyond it found
    no space."""

    def __init__(self, monitor: Monitor, overlays: Mapping[str, int]) -> None:
        self._monitor = monitor
        self._untold = dict(overlays)

    def execute(self, command: str, **arguments: JsonValue) -> JsonValue:
        return self._monitor.execute(command, **arguments)

    def events(self) -> tuple[MonitorEvent, ...]:
        return (*self._monitor.events(), *self._failed())

    def _failed(self) -> Iterator[MonitorEvent]:
        if not self._untold:
            return
        for disk in cast("list[dict[str, Any]]", self.execute("query-blockstats")):
            name, counted = disk.get("node-name", ""), disk["stats"]
            if name not in self._untold:
                continue
            for operation, of in (("write", "failed_wr_operations"), ("read", "failed_rd_operations")):
                if counted[of]:
                    size = self._untold.pop(name)
                    highest = disk["parent"]["stats"]["wr_highest_offset"]
                    no_space = operation == "write" and highest > size
                    yield _event(name, operation, no_space=no_space)
                    break


def _event(name: str, operation: str, *, no_space: bool) -> MonitorEvent:
    reason = "No space left on device" if no_space else "Input/output error"
    told: dict[str, JsonValue] = {
        "device": "",
        "node-name": name,
        "operation": operation,
        "action": "report",
        "nospace": no_space,
        "reason": reason,
    }
    return MonitorEvent("BLOCK_IO_ERROR", told)
