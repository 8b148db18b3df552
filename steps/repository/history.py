"""The restore points of one VM with all that is known of each, and the chains that its disks form through them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.errors import SendenseError
from runner.hosts import Host
from steps.repository import marks, vm_directory
from steps.repository.manifest import Manifest, PointDisk
from steps.repository.marks import Marks


class BrokenChainError(SendenseError):
    """A point that others are built on is not there."""

    def __init__(self, point: str, key: int, missing: str) -> None:
        super().__init__(f"disk {key} of {point} is built on {missing}, which is not there or has no such disk")


@dataclass(frozen=True)
class Entry:
    path: str
    """Absolute, of the point's directory."""
    manifest: Manifest
    marks: Marks

    @property
    def point(self) -> str:
        return self.manifest.point

    def disk(self, key: int) -> PointDisk | None:
        return next((disk for disk in self.manifest.disks if disk.key == key), None)


History = Sequence[Entry]
"""Of one VM, oldest first."""


def oldest_first(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """By their snapshots' moments. Names tell seconds only: two points of one second would stand in the order of chance."""
    return tuple(sorted(entries, key=lambda entry: (entry.manifest.created, entry.manifest.published)))


def read(host: Host, directory: str) -> tuple[Entry, ...]:
    """All points in a VM's directory, oldest first. Raises StateError for a damaged manifest or mark."""
    entries = []
    for name in vm_directory.points(host, directory):
        path = posixpath.join(directory, name)
        if (found := vm_directory.read(host, path)) is not None:
            entries.append(Entry(path, found, marks.read(host, path)))
    return oldest_first(entries)


def chain(history: History, entry: Entry, key: int) -> tuple[Entry, ...]:
    """The points that disk `key` of `entry` is read from, `entry` first, its full last. Raises BrokenChainError."""
    by_name = {other.point: other for other in history}
    found = [entry]
    while True:
        disk = found[-1].disk(key)
        if disk is None:
            raise BrokenChainError(entry.point, key, found[-1].point)
        if disk.parent is None:
            return tuple(found)
        parent = by_name.get(disk.parent)
        if parent is None or parent in found:
            raise BrokenChainError(entry.point, key, disk.parent)
        found.append(parent)


def children(history: History, point: str) -> tuple[Entry, ...]:
    """Points with a disk whose image lies directly on one of `point`."""
    return tuple(entry for entry in history if any(disk.parent == point for disk in entry.manifest.disks))
