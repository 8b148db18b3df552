"""The chains that the disks of one VM form through its points, each looked at once: `history.chain` answers for one point,
this for thousands. Pure.

What speaks against a disk in one point speaks against all that is built on it. One thing can be made good from above: what
was found wrong at rest, by a later verification that read every block of a point on it, wherever it lies. That says nothing
of what was read wrongly at the source, since the digests then are of what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from steps.repository.history import Entry, History
from steps.repository.marks import Suspicion


@dataclass(frozen=True)
class Doubt:
    """What speaks against a disk in a point."""

    point: str
    why: str
    """To come after the point's name."""
    suspicion: Suspicion | None = None
    """Where it is one."""


@dataclass(frozen=True)
class _State:
    """Of one disk in one point, with all that it is built on."""

    missing: str | None
    """A point that is not there."""
    compared: bool
    """Whether every block was compared, then or later."""
    read_wrongly: Doubt | None
    """That of the point itself before that of what it is built on."""
    at_rest: tuple[datetime, Doubt] | None
    """The last time that something was found wrong at rest, if not all of it was read and right since."""


class Chains:
    """Of all points of one VM."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.by_name = {entry.point: entry for entry in history}
        self._states: dict[tuple[str, int], _State] = {}
        for entry in history:
            for disk in entry.manifest.disks:
                self._follow(entry, disk.key)

    def parent(self, entry: Entry, key: int) -> Entry | None:
        """The point that disk `key` of `entry` is built on; None for a full, and where it is missing."""
        disk = entry.disk(key)
        if disk is None or disk.parent is None:
            return None
        found = self.by_name.get(disk.parent)
        return found if found is not None and found.disk(key) is not None else None

    def of(self, entry: Entry, key: int) -> list[Entry]:
        """`entry` first, as far down as the points are there."""
        found = [entry]
        while (below := self.parent(found[-1], key)) is not None and below not in found:
            found.append(below)
        return found

    def broken(self, entry: Entry) -> str | None:
        """Why a disk of it cannot be restored, in words; None where all its chains are whole."""
        for disk in entry.manifest.disks:
            if (missing := self._states[(entry.point, disk.key)].missing) is not None:
                return f"disk {disk.key} is built on {missing}, which is not there"
        return None

    def doubt(self, entry: Entry, key: int) -> Doubt | None:
        """What speaks against disk `key` of `entry` or against what it is built on."""
        state = self._states[(entry.point, key)]
        return state.read_wrongly or (None if state.at_rest is None else state.at_rest[1])

    def compared(self, entry: Entry, key: int) -> bool:
        """Whether every block of disk `key` of `entry` was compared, wherever in the chain it lies, then or later."""
        return self._states[(entry.point, key)].compared

    def good(self, entry: Entry) -> bool:
        """Whether retention may count on it: of each of its disks the chain is whole, every block was compared, and nothing
        speaks against it."""
        return self.broken(entry) is None and all(
            self.compared(entry, disk.key) and self.doubt(entry, disk.key) is None for disk in entry.manifest.disks
        )

    def _follow(self, entry: Entry, key: int) -> None:
        """Fills in what is known of disk `key` of `entry` and of all points below it."""
        path: list[Entry] = []
        at = entry
        while (at.point, key) not in self._states and at not in path:
            path.append(at)
            below = self.parent(at, key)
            if below is None:
                break
            at = below
        for one in reversed(path):
            self._states[(one.point, key)] = self._state(one, key)

    def _state(self, entry: Entry, key: int) -> _State:
        disk, parent = entry.disk(key), self.parent(entry, key)
        # It may be missing, or the chain goes round.
        below = None if parent is None else self._states.get((parent.point, key))
        missing = None if disk is None or disk.parent is None else disk.parent if below is None else below.missing
        verified = None if entry.marks.verified is None else entry.marks.verified.disk(key)
        compared = disk is not None and disk.level == "full" and (below is None or below.compared)
        at_rest = None if below is None else below.at_rest
        if verified is not None and verified.whole:
            compared = True
            if at_rest is not None and at_rest[0] < verified.at:
                at_rest = None
        elif verified is not None and not verified.passed:
            why = verified.problem or "blocks differ"
            own = verified.at, Doubt(entry.point, f"did not pass its verification at rest: {why}")
            at_rest = max(own, at_rest or own, key=lambda found: found[0])
        read_wrongly = _read_wrongly(entry, key) or (None if below is None else below.read_wrongly)
        return _State(missing, compared, read_wrongly, at_rest)


def _read_wrongly(entry: Entry, key: int) -> Doubt | None:
    for one in entry.marks.suspect.disks if entry.marks.suspect else ():
        if one.key == key:
            return Doubt(entry.point, f"is suspect: {one.why}", one)
    found = None if entry.marks.against_source is None else entry.marks.against_source.disk(key)
    if found is not None and not found.passed:
        return Doubt(entry.point, "differed from the VM where that had not written")
    return None
