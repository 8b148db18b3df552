"""Writing a disk as a stream: compressed on all cores, written and digested in order, with bounded memory.

put ─→ queue of blocks ─→ threads compress their grains ─→ in order: write, SHA-1 and SHA-256, table
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isal import isal_zlib

from runner.base.errors import SendenseError
from steps.stream.layout import (
    DIRECTORY,
    END,
    ENTRIES,
    FOOTER,
    GRAIN,
    GRAIN_MARKER,
    LARGEST,
    MARKER,
    SECTOR,
    TABLE,
    descriptor,
    header,
    padded,
)

LEVEL = 1
"""Of isal's compression: its streams are nearly as small as those of zlib's level 1, which takes five times
as long (261 and 48 MB/s on one core)."""

MOST_THREADS = 4
"""What reads a disk feeds no more of them; two of them are as fast as two cores are, since isal works without
the interpreter's lock (code and text in grains of 64 KiB: 418 MiB/s on one core, 804 on two)."""

_LAST_CONTENT_ID = 0xFFFFFFFD
"""The two beyond it stand for none (open-vmdk, sparse.c)."""


class StreamTooLongError(SendenseError):
    fix_first = True

    def __init__(self) -> None:
        super().__init__(
            "the compressed disk is larger than the 2 TiB that a stream can hold: restore it over VDDK "
            "(`transport: vddk`)"
        )


@dataclass(frozen=True)
class Stream:
    """What was written: bytes, and its digests in hex."""

    size: int
    sha1: str
    sha256: str


@dataclass(frozen=True)
class _Compressed:
    """Grains that follow one another on the disk, without those that are all zero. `lengths`: sectors that
    each takes, by its number on the disk."""

    content: bytes
    lengths: tuple[tuple[int, int], ...]


class StreamWriter:
    """A stream of a disk of `capacity` bytes, whole sectors, into `write`, which is called from the thread
    that puts. It holds a few MiB, whatever the disk."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        capacity: int,
        *,
        content_id: int,
        threads: int = min(MOST_THREADS, len(os.sched_getaffinity(0))),
    ) -> None:
        """`content_id`: 32 bits that stand for the disk's content."""
        if capacity <= 0 or capacity % SECTOR:
            raise ValueError(f"a disk of {capacity} bytes has no whole sectors")
        self._into = write
        self.capacity = capacity
        """Bytes of the disk."""
        self._next = 0
        """Where the next content may begin, on the disk."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="compress")
        self._most_waiting = 2 * threads
        """So that no thread waits for the next block while one is written."""
        self._waiting: deque[Future[_Compressed]] = deque()
        self._size = 0
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._directory = [0] * -(-capacity // (GRAIN * ENTRIES))
        self._table: list[int] = []
        """Of the grains that were written last; empty where it is in the stream."""
        self._table_number = 0
        self._write(header(capacity))
        self._write(descriptor(capacity, min(content_id, _LAST_CONTENT_ID)))

    def put(self, offset: int, content: bytes | memoryview) -> None:
        """Whole grains, but at the disk's end, in ascending order; what is left out, or zero, is not stored.
        `content` is copied. Raises StreamTooLongError, and what `write` raises."""
        end = offset + len(content)
        if offset % GRAIN or offset < self._next or end > self.capacity:
            raise ValueError(f"bytes {offset} to {end} do not follow {self._next} of {self.capacity}")
        if end % GRAIN and end != self.capacity:
            raise ValueError(f"bytes {offset} to {end} are not whole grains")
        self._next = end
        self._waiting.append(self._pool.submit(_compress, offset // GRAIN, bytes(content)))
        while len(self._waiting) > self._most_waiting or (self._waiting and self._waiting[0].done()):
            self._take(self._waiting.popleft().result())

    def finish(self) -> Stream:
        """Writes what a stream ends with. Raises as `put`."""
        while self._waiting:
            self._take(self._waiting.popleft().result())
        self._end_table()
        directory = padded(struct.pack(f"<{len(self._directory)}I", *self._directory))
        self._marker(DIRECTORY, len(directory))
        place = self._size // SECTOR
        self._write(directory)
        self._marker(FOOTER, SECTOR)
        self._write(header(self.capacity, place))
        self._marker(END, 0)
        return Stream(self._size, self._sha1.hexdigest(), self._sha256.hexdigest())

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, done: _Compressed) -> None:
        """A put seldom reaches beyond one table; one that does is cut there, since tables follow what they
        list."""
        at = start = 0
        for number, sectors in done.lengths:
            table = number // ENTRIES
            if table != self._table_number or not self._table:
                self._write(done.content[start:at])
                start = at
                self._end_table()
                self._table, self._table_number = [0] * ENTRIES, table
            self._table[number % ENTRIES] = (self._size + at - start) // SECTOR
            at += sectors * SECTOR
        self._write(done.content[start:])

    def _end_table(self) -> None:
        if self._table:
            self._marker(TABLE, 4 * ENTRIES)
            self._directory[self._table_number] = self._size // SECTOR
            self._write(struct.pack(f"<{ENTRIES}I", *self._table))
            self._table = []

    def _marker(self, kind: int, length: int) -> None:
        self._write(MARKER.pack(length // SECTOR, 0, kind))

    def _write(self, content: bytes) -> None:
        if self._size + len(content) > LARGEST:
            raise StreamTooLongError
        self._into(content)
        self._sha1.update(content)
        self._sha256.update(content)
        self._size += len(content)


def _compress(first: int, content: bytes) -> _Compressed:
    """`first`: the number of its first grain on the disk. The last grain of a disk is as long as the disk is,
    as open-vmdk and qemu-img write it."""
    pieces: list[bytes] = []
    lengths: list[tuple[int, int]] = []
    for at in range(0, len(content), GRAIN):
        grain = content[at : at + GRAIN]
        if grain == _ZEROES[: len(grain)]:
            continue
        number = first + at // GRAIN
        packed = isal_zlib.compress(grain, LEVEL)
        pieces += (GRAIN_MARKER.pack(number * (GRAIN // SECTOR), len(packed)), packed)
        size = GRAIN_MARKER.size + len(packed)
        pieces.append(bytes(-size % SECTOR))
        lengths.append((number, -(-size // SECTOR)))
    return _Compressed(b"".join(pieces), tuple(lengths))


_ZEROES = bytes(GRAIN)
