"""The chains that the disks of one VM form through its points, each looked at once, for thousands of them.
Pure.

What speaks against a disk in one point speaks against all that is built on it. A block that was found wrong
may lie in any image below, so what was found in a point speaks against all that it is built on as well, and
against what else is. One thing can be made good from above: what was found wrong at rest, by a later
verification that read every block of a point on it, in whichever image it is; what is below that point waits
for one of its own. That says nothing of what was read wrongly at the source, since the digests then are of
what was read.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime

from steps.repository.history import Entry, History
from steps.repository.verification_records import DiskVerified


@dataclass(frozen=True)
class Doubt:
    """What speaks against a disk in a point."""

    point: str
    why: str
    """To come after the point's name."""
    run: str = ""
    """The run that found it, if that was one that was to be built on the point."""
    cause: str = ""
    """What that found, by itself."""

    def seen_from(self, point: str) -> str:
        """To come after the disk of `point`, which it is or is built on."""
        return self.why if self.point == point else f"is backed by {self.point}, which {self.why}"


@dataclass(frozen=True)
class _State:
    """Of one disk in one point, with all that it is built on."""

    broken: Doubt | None
    """A point that is not there, or a file of one."""
    compared: bool
    """Whether every block was compared, then or later."""
    read_wrongly: Doubt | None
    """That of the point itself before that of what is built on it, and that before what it is built on."""
    at_rest: tuple[datetime, Doubt] | None
    """The last time that something was found wrong at rest, if not all of it was read and right since."""


class Chains:
    """Of all points of one VM. `stored`: the paths of the files of its disks that are there and hold
    something; without it, that is not looked at. `unread`: names of points that are there, or may be, and
    could not be read."""

    def __init__(
        self, history: History, stored: Container[str] | None = None, unread: Container[str] = frozenset()
    ) -> None:
        self.history = history
        self.by_name = {entry.point: entry for entry in history}
        self._stored = stored
        self._unread = unread
        self._carries: dict[tuple[str, int], list[Entry]] = {}
        """Points with a disk that something was found wrong in, by what it is built on."""
        self._states: dict[tuple[str, int], _State] = {}
        # First of all: what was found in a point speaks against those below it, which are followed next.
        for entry in history:
            for disk in entry.manifest.disks:
                if _at_rest(entry, disk.key) is not None or _differed(entry, disk.key) is not None:
                    for below in self.of(entry, disk.key)[1:]:
                        self._carries.setdefault((below.point, disk.key), []).append(entry)
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
        names = {entry.point}
        while (below := self.parent(found[-1], key)) is not None and below.point not in names:
            found.append(below)
            names.add(below.point)
        return found

    def broken(self, entry: Entry) -> str | None:
        """Why a disk of it cannot be restored and compared, in words; None where all its chains are whole."""
        for disk in entry.manifest.disks:
            if (found := self.lost(entry, disk.key)) is not None:
                return f"disk {disk.key} {found.seen_from(entry.point)}"
        return None

    def lost(self, entry: Entry, key: int) -> Doubt | None:
        """What is not there of what disk `key` of `entry` is read from and compared with."""
        return self._states[(entry.point, key)].broken

    def doubt(self, entry: Entry, key: int) -> Doubt | None:
        """What speaks against disk `key` of `entry` or against what it is built on."""
        state = self._states[(entry.point, key)]
        return state.read_wrongly or (None if state.at_rest is None else state.at_rest[1])

    def compared(self, entry: Entry, key: int) -> bool:
        """Whether every block of disk `key` of `entry` was compared, in whichever image of the chain, then or
        later."""
        return self._states[(entry.point, key)].compared

    def doubts(self, entry: Entry) -> Iterator[str]:
        """What speaks against its disks or what they are built on, in words."""
        for disk in entry.manifest.disks:
            if (doubt := self.doubt(entry, disk.key)) is not None:
                yield f"disk {disk.key} {doubt.seen_from(entry.point)}"

    @property
    def newest_good(self) -> Entry | None:
        return next((entry for entry in reversed(self.history) if self.good(entry)), None)

    def good(self, entry: Entry) -> bool:
        """Whether retention may count on it: of each of its disks the chain is whole, every block was
        compared, and nothing speaks against it."""
        disks = entry.manifest.disks
        return (
            bool(disks)
            and self.broken(entry) is None
            and all(self.compared(entry, disk.key) and self.doubt(entry, disk.key) is None for disk in disks)
        )

    def why_not_good(self, entry: Entry) -> str | None:
        """In words; None where it is good."""
        if self.good(entry):
            return None
        return self.broken(entry) or next(self.doubts(entry), "not every block was compared")

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
        # From the bottom up and without recursion: a chain may have thousands of points.
        for one in reversed(path):
            self._states[(one.point, key)] = self._state(one, key)

    def _state(self, entry: Entry, key: int) -> _State:
        disk, parent = entry.disk(key), self.parent(entry, key)
        # It may be missing, or the chain goes round.
        below = None if parent is None else self._states.get((parent.point, key))
        whole = _whole(entry, key)
        # A verification of an incremental may have read what is inherited as well.
        sound_below = below is None or below.compared or (disk is not None and disk.compared == disk.blocks)
        compared = disk is not None and disk.level == "full" and sound_below
        # Found wrong in the very moment that it was read whole is wrong still.
        wrong = [one for one in self._wrong_at_rest(entry, key, below) if whole is None or one[0] >= whole]
        return _State(
            broken=self._broken(entry, key, below),
            compared=compared or whole is not None,
            # No later verification at rest can disprove it: the digests are of the wrong bytes.
            read_wrongly=self._read_wrongly(entry, key) or (None if below is None else below.read_wrongly),
            at_rest=max(wrong, key=lambda one: one[0], default=None),
        )

    def _broken(self, entry: Entry, key: int, below: _State | None) -> Doubt | None:
        disk = entry.disk(key)
        if disk is None:
            return None
        if self._stored is not None:
            for name in (disk.image, disk.digests):
                if f"{entry.path}/{name}" not in self._stored:
                    return Doubt(entry.point, f"has lost {name}: it is missing or empty")
        if disk.parent is None:
            return None
        if below is not None:
            return below.broken
        return Doubt(disk.parent, "cannot be read" if disk.parent in self._unread else "does not exist")

    def _wrong_at_rest(
        self, entry: Entry, key: int, below: _State | None
    ) -> Iterator[tuple[datetime, Doubt]]:
        """In the point itself, in what is built on it, and in what it is built on; when, and what."""
        if (own := _at_rest(entry, key)) is not None:
            yield own.at, Doubt(entry.point, _failed(own), own.run, _found(own))
        for above in self._carries.get((entry.point, key), ()):
            if (found := _at_rest(above, key)) is not None:
                yield found.at, Doubt(entry.point, f"carries {above.point}, which {_failed(found)}")
        if below is not None and below.at_rest is not None:
            yield below.at_rest

    def _read_wrongly(self, entry: Entry, key: int) -> Doubt | None:
        for one in entry.marks.suspect.disks if entry.marks.suspect else ():
            if one.key == key:
                return Doubt(entry.point, f"is suspect: {one.why}", one.run, one.why)
        if (why := _differed(entry, key)) is not None:
            return Doubt(entry.point, why)
        for above in self._carries.get((entry.point, key), ()):
            if (why := _differed(above, key)) is not None:
                return Doubt(entry.point, f"carries {above.point}, which {why}")
        return None


def _whole(entry: Entry, key: int) -> datetime | None:
    """When all of disk `key` was last read at rest, and was right."""
    found = None if entry.marks.verified is None else entry.marks.verified.disk(key)
    return found.at if found is not None and found.whole else None


def _at_rest(entry: Entry, key: int) -> DiskVerified | None:
    """What was found wrong at rest."""
    found = None if entry.marks.verified is None else entry.marks.verified.disk(key)
    return found if found is not None and not found.passed else None


def _found(wrong: DiskVerified) -> str:
    return wrong.problem or f"blocks differ, the first at offset {wrong.different[0]}"


def _failed(wrong: DiskVerified) -> str:
    return f"failed verification at rest: {_found(wrong)}"


def _differed(entry: Entry, key: int) -> str | None:
    found = None if entry.marks.against_source is None else entry.marks.against_source.disk(key)
    return None if found is None or found.passed else "differed from the VM where the VM had not written"
