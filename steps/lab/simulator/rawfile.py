"""Sparse raw files: the bytes of one layer of a disk.

A file is one file where the file system takes its size. Ext4 stops just below 16 TiB, so a larger disk goes
on in ``NAME.1``, ``NAME.2`` … of 8 TiB each; that is where a 64 TiB disk keeps the bytes behind its first 8
TiB.
"""

from __future__ import annotations

import copy
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from runner.base.errors import UsageError
from runner.base.units import MiB, TiB

SEGMENT = 8 * TiB
CHUNK = MiB


class RawFile:
    """`size` bytes, holes read as zeroes. Offsets beyond it are the caller's mistake."""

    def __init__(self, path: Path, size: int) -> None:
        """Opens the file at `path`, made where it is not there; an existing one keeps its bytes."""
        self.path = path
        self.size = size
        first = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._files = [first]
        if (found := os.fstat(first).st_size) not in (0, size) and (found != SEGMENT or size < SEGMENT):
            raise UsageError(f"{path} has {found} bytes and its disk {size}: start with an empty directory")
        if found == 0:
            try:
                os.ftruncate(first, size)
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                os.ftruncate(first, SEGMENT)
        self._segment = os.fstat(first).st_size or SEGMENT
        for number in range(1, -(-size // self._segment)):
            part = os.open(f"{path}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(part, min(self._segment, size - number * self._segment))
            self._files.append(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def duplicate(self) -> RawFile:
        """Another handle on the same bytes, which stays good when this one is closed or removed."""
        other = copy.copy(self)
        other._files = [os.dup(file) for file in self._files]
        return other

    def lock(self, wanted: bool) -> bool:
        """Takes or leaves the lock that says who writes it, against other processes too; False if somebody
        has it. Closing leaves it."""
        try:
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB if wanted else fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def remove(self) -> None:
        for number in range(1, len(self._files)):
            Path(f"{self.path}.{number}").unlink()
        self.path.unlink()
        self.close()

    def grow(self, size: int) -> None:
        if len(self._files) > 1 or size > SEGMENT:
            raise ValueError(f"{self.path} cannot grow beyond {SEGMENT} bytes")
        os.ftruncate(self._files[0], size)
        self.size = self._segment = size

    def _parts(self, offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """(file, offset in it, position in the request, length) of each segment touched."""
        done = 0
        while done < length:
            number, inside = divmod(offset + done, self._segment)
            part = min(length - done, self._segment - inside)
            yield self._files[number], inside, done, part
            done += part

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for file, inside, position, length in self._parts(offset, len(buffer)):
            end = position + length
            while position < end:
                count = os.preadv(file, [buffer[position:end]], inside)
                if count == 0:
                    raise OSError(errno.EIO, f"{self.path} is shorter than its disk")
                position, inside = position + count, inside + count

    def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def write(self, offset: int, content: bytes | memoryview) -> None:
        view = memoryview(content)
        for file, inside, position, length in self._parts(offset, len(view)):
            end = position + length
            while position < end:
                count = os.pwrite(file, view[position:end], inside)
                position, inside = position + count, inside + count

    def extents(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """[start, end) in pieces that hold data (True) or are holes, as the file system knows them."""
        for file, inside, position, length in self._parts(start, end - start):
            base, stop = start + position - inside, inside + length
            while inside < stop:
                data = _seek(file, inside, os.SEEK_DATA, stop)
                if data > inside:
                    yield base + inside, base + data, False
                hole = _seek(file, data, os.SEEK_HOLE, stop) if data < stop else stop
                if hole > data:
                    yield base + data, base + hole, True
                inside = hole


def replace_text(path: Path, text: str) -> None:
    """Replaces a small file whole, so that who reads it meanwhile reads the old one to its end."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


def _seek(file: int, offset: int, whence: int, stop: int) -> int:
    try:
        return min(os.lseek(file, offset, whence), stop)
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data behind `offset`
            raise
        return stop
