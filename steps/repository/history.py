"""The restore points of one VM with all that is known of each, in the order in which they were published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from steps.repository.manifest import Manifest, PointDisk
from steps.repository.verification_records import Marks


@dataclass(frozen=True)
class Entry:
    path: str
    """Absolute, of the point's directory."""
    manifest: Manifest
    marks: Marks

    # Both are asked for each rule and each chain of thousands of points again and again.

    @cached_property
    def point(self) -> str:
        return self.manifest.point

    @cached_property
    def moment(self) -> datetime:
        """See `Manifest.moment`."""
        return self.manifest.moment

    def disk(self, key: int) -> PointDisk | None:
        return self.manifest.disk(key)


History = Sequence[Entry]
"""Of one VM, oldest first."""


def oldest_first(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """In the order in which they were published, by their sequence, which no clock makes. Those that are from
    before there was one stand before the others, by the time of publication. What is built on a point is
    always after it. Neither names nor the moments of snapshots count: both are by the vCenter's clock, which
    may have been a year ahead for a night."""
    by_name = {entry.point: entry for entry in entries}
    places: dict[str, _Place] = {}
    for entry in by_name.values():
        _place(entry, by_name, places)
    return tuple(sorted(by_name.values(), key=lambda entry: places[entry.point]))


_Place = tuple[int, datetime, int, str]
"""Of a point: sequence and publication, both not before those of what it is built on, how many are below it,
and its name."""


def _place(entry: Entry, by_name: Mapping[str, Entry], places: dict[str, _Place]) -> None:
    pending = [entry]
    entered: set[str] = set()
    while pending:
        at = pending[-1]
        entered.add(at.point)
        below = [
            by_name[disk.parent]
            for disk in at.manifest.disks
            if disk.parent is not None and disk.parent in by_name
        ]
        # A chain that goes round is damaged, and still has an order.
        if unplaced := [one for one in below if one.point not in places and one.point not in entered]:
            pending += unplaced
            continue
        pending.pop()
        known = [places[one.point] for one in below if one.point in places]
        places.setdefault(
            at.point,
            (
                max([at.manifest.sequence or 0, *(place[0] for place in known)]),
                max([at.manifest.published, *(place[1] for place in known)]),
                max([0, *(place[2] + 1 for place in known)]),
                at.point,
            ),
        )


def children(history: History, point: str) -> tuple[Entry, ...]:
    """Points with a disk whose image is backed directly by one of `point`."""
    return tuple(entry for entry in history if any(disk.parent == point for disk in entry.manifest.disks))
