"""Where streams wait until they are uploaded: a directory of the run on this machine, with a bounded size."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.base.errors import UsageError
from runner.base.units import MiB
from runner.hosts import files
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from steps.values.planned_vm import PlannedDisk

KEPT_FREE = 0.1
"""Share of what is free that is left to others."""

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


def directory(wanted: str, run: str) -> Path:
    """Of a run, below `wanted`, or below the user's cache. Raises UsageError where there is none."""
    if wanted:
        return Path(wanted) / run
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "sendense" / "spool" / run
    try:
        return Path.home() / ".cache" / "sendense" / "spool" / run
    except RuntimeError as error:
        raise UsageError(
            f"user {os.geteuid()} has no home directory for compressed disks: give a directory with `spool`"
        ) from error


def most(disk: PlannedDisk) -> int:
    """Bytes that its stream has at most: of content that does not compress, with markers and tables."""
    stored = disk.stored
    return stored.data + stored.data // 64 + stored.capacity // (8 * MiB) + MiB


def has_room(place: Path, disks: Iterable[PlannedDisk], key: int, limit: int | None) -> bool:
    """Whether the disk with that key fits beside those before it. They are counted with what they take at
    most, so that each disk is told the same, whichever of them are there already."""
    needed = sum(most(disk) for disk in disks if disk.key <= key)
    return needed <= (room(place) if limit is None else min(limit, room(place)))


def room(place: Path) -> int:
    """Bytes that a run's directory may come to hold: what it has, and what is free but for others' share."""
    used = 0
    with suppress(FileNotFoundError):
        for entry in os.scandir(place):
            with suppress(FileNotFoundError):
                used += entry.stat().st_size
    return used + int(free(place) * (1 - KEPT_FREE))


def free(place: Path) -> int:
    """Bytes for us where it is, or will be. Raises HostError."""
    there = next(path for path in (place, *place.parents) if path.exists())
    with translate_os_errors(THIS_MACHINE, str(there)):
        found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


class SpoolFile:
    """A stream that is written; `stored` is False, and the file gone, once its file system is full: what
    remains of it then is what was counted."""

    def __init__(self, path: Path) -> None:
        """Raises HostError."""
        self.path = path
        self.stored = True
        with translate_os_errors(THIS_MACHINE, str(path)):
            files.make_directory(str(path.parent), mode=0o700, parents=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)

    def write(self, content: bytes) -> None:
        """Raises HostError."""
        if not self.stored:
            return
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._drop_if_full(error)

    def _drop_if_full(self, error: OSError) -> None:
        if error.errno not in _OUT_OF_SPACE:
            with translate_os_errors(THIS_MACHINE, str(self.path)):
                raise error
        self.drop()

    def drop(self) -> None:
        """Its room is free at once, though it is still open."""
        self.stored = False
        os.ftruncate(self._file, 0)
        remove(self.path)

    def sync(self) -> None:
        """What a record says is there survives a power cut. A file system over a network may say only now
        that it is full. Raises HostError."""
        try:
            os.fsync(self._file)
        except OSError as error:
            self._drop_if_full(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def remove(path: Path) -> None:
    """And its directory with the last one; absent is fine. Raises HostError."""
    with translate_os_errors(THIS_MACHINE, str(path)):
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it is gone already, or has others' streams
            path.parent.rmdir()
