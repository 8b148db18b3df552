"""The chains that the disks of one VM form through its points, each looked at once: `history.chain` answers for one point,
this for thousands. Pure."""

from __future__ import annotations

from steps.repository.history import Entry, History


class Chains:
    """Of all points of one VM."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.by_name = {entry.point: entry for entry in history}
        self._broken: dict[tuple[str, int], str | None] = {}
        self._sound: dict[tuple[str, int], bool] = {}
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
            if (missing := self._broken[(entry.point, disk.key)]) is not None:
                return f"disk {disk.key} is built on {missing}, which is not there"
        return None

    def good(self, entry: Entry) -> bool:
        """Whether retention may count on it: it is good itself, its chains are whole, and what they lie on is good too,
        or all of it was read and compared later."""
        if not entry.good or self.broken(entry) is not None:
            return False
        verified = entry.marks.verified
        if verified is not None and verified.passed and verified.level == "chain":
            return True
        return all(self._sound[(entry.point, disk.key)] for disk in entry.manifest.disks)

    def _follow(self, entry: Entry, key: int) -> None:
        """Fills in what is known of disk `key` of `entry` and of all points below it."""
        path: list[Entry] = []
        at = entry
        while (at.point, key) not in self._broken and at not in path:
            path.append(at)
            below = self.parent(at, key)
            if below is None:
                break
            at = below
        for one in reversed(path):
            self._broken[(one.point, key)], self._sound[(one.point, key)] = self._link(one, key)

    def _link(self, entry: Entry, key: int) -> tuple[str | None, bool]:
        disk = entry.disk(key)
        if disk is None or disk.parent is None:
            return None, entry.good
        below = self.parent(entry, key)
        if below is None or (below.point, key) not in self._broken:  # missing, or the chain goes round
            return disk.parent, False
        return self._broken[(below.point, key)], entry.good and self._sound[(below.point, key)]
