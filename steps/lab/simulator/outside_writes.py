"""Writes to disks by who has them open besides their VM: VMware's library, or what stands in for it in tests.

Whether a real vCenter's changed block tracking sees such writes was not found documented; here it does where
it is told where they are noted, a line each: ``w PATH OFFSET LENGTH``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from steps.lab.simulator.disk import Disk


class OutsideWrites:
    def __init__(self, noted: Path) -> None:
        self._noted = noted
        self._seen = noted.stat().st_size if noted.exists() else 0

    def notice(self, disks: Iterable[Disk]) -> None:
        """Tracking of these notes what was written since the last time."""
        if not self._noted.exists():
            return
        with self._noted.open() as file:
            file.seek(self._seen)
            lines = file.readlines()
            self._seen = file.tell()
        trackers = {str(disk.top.raw.path): disk.tracker for disk in disks}
        for line in lines:
            what, _, rest = line.partition(" ")
            path, offset, length = rest.rsplit(" ", 2)
            if what == "w" and (tracker := trackers.get(path)) is not None:
                tracker.note(int(offset), int(offset) + int(length))
