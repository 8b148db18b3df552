"""The digests of a disk: 32 bytes a block, in a sparse file that is never held whole.

Entry i is the BLAKE3 of [i MiB, min((i+1) MiB, capacity)); 32 zero bytes stand for a block of zeroes, so that
holes of the disk are holes of the file (64 TiB: 2 GiB, sparse). The file is on this machine: what its
system refuses is raised as NoSpaceError or HostError.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from blake3 import blake3

from runner.base.errors import StateError
from runner.base.units import MiB
from runner.hosts.files import THIS_MACHINE, pwrite, translate_os_errors
from steps.copy.extents import BLOCK, PART, Extent, merge

ENTRY = 32
_ZERO = bytes(ENTRY)
_CHUNK = MiB
"""Bytes of the file held at a time: the entries of 32 GiB of disk."""
_ZERO_CHUNK = bytes(_CHUNK)


_FIRST = bytes(64)


def digest_of(block: memoryview | bytes, *, is_content: bool = False) -> bytes:
    """`is_content`: that all of it is zero is not to be expected."""
    # To compare all of a block of zeroes takes a fifth of the time that its BLAKE3 takes (measured: 52
    # against 247 µs a MiB), and a source without extents is full of them.
    if not is_content and _is_zero(block):
        return zero_digest(len(block))
    return blake3(block).digest()


def content_of(block: memoryview, among: int) -> int:
    """The mask (see `extents`) of the parts of a block that are not all zeroes, among those that another mask
    has."""
    mask = 0
    for number, first in enumerate(bytes(block[::PART])):
        if among >> number & 1 and (first or not _is_zero(block[number * PART : (number + 1) * PART])):
            mask |= 1 << number
    return mask


def _is_zero(content: memoryview | bytes) -> bool:
    # Most content shows at once that it is not zero.
    return content[: len(_FIRST)] == _FIRST[: len(content)] and bytes(content) == zeroes(len(content))


@functools.cache
def zeroes(length: int) -> bytes:
    return bytes(length)


@functools.cache
def zero_digest(length: int) -> bytes:
    """Of `length` zero bytes: a block with this digest is a block of zeroes."""
    return blake3(zeroes(length)).digest()


def file_size(capacity: int) -> int:
    return -(-capacity // BLOCK) * ENTRY


class Digests:
    """Open until `close`. Offsets are bytes of the disk, at the start of a block."""

    def __init__(self, path: Path, capacity: int, flags: int) -> None:
        self.path = path
        self.capacity = capacity
        self.size = file_size(capacity)
        with self._sentences():
            self._file = os.open(path, flags | os.O_CLOEXEC, 0o600)

    @classmethod
    def create(cls, path: Path, capacity: int) -> Digests:
        """Of a disk of zeroes; an older file there is replaced."""
        digests = cls(path, capacity, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        with digests._sentences():
            os.ftruncate(digests._file, digests.size)
        return digests

    @classmethod
    def receive(cls, path: Path, capacity: int, chunks: Iterable[bytes]) -> Digests:
        """A copy of the file whose content is `chunks`. Raises StateError if it is not as long as the disk
        needs."""
        digests = cls.create(path, capacity)
        at = 0
        for chunk in chunks:
            if at + len(chunk) <= digests.size and chunk != bytes(len(chunk)):
                digests._write(chunk, at)
            at += len(chunk)
        if at != digests.size:
            digests.close()
            raise StateError(
                f"the digests file has {at} bytes where a disk of {capacity} needs {digests.size}"
            )
        return digests

    def put(self, offset: int, entries: bytes) -> None:
        """The entries of the blocks from `offset` on."""
        self._write(entries, offset // BLOCK * ENTRY)

    def get(self, offset: int, blocks: int = 1) -> bytes:
        with self._sentences():
            return os.pread(self._file, blocks * ENTRY, offset // BLOCK * ENTRY)

    def expected(self, offset: int) -> bytes:
        """The digest of the block at `offset`, of a block of zeroes too."""
        entry = self.get(offset)
        return zero_digest(min(BLOCK, self.capacity - offset)) if entry == _ZERO else entry

    def extents(self, offset: int, length: int, then: Callable[[list[Extent]], None]) -> None:
        """The runs of zero blocks of a range that starts and ends with blocks, answered at once."""
        blocks = -(-length // BLOCK)
        entries = self.get(offset, blocks)
        if entries == bytes(len(entries)):
            then([Extent(offset, length, True)])
            return
        runs = (
            Extent(
                offset + i * BLOCK,
                min(BLOCK, length - i * BLOCK),
                entries[i * ENTRY : (i + 1) * ENTRY] == _ZERO,
            )
            for i in range(blocks)
        )
        then(merge(runs))

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(offset in the file, bytes): what is not a hole, at most 1 MiB each."""
        return self._pieces(0, self.size)

    def _pieces(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        for start, stop in self._written(first, end):
            for at in range(start, stop, _CHUNK):
                content = os.pread(self._file, min(_CHUNK, stop - at), at)
                if content != bytes(len(content)):
                    yield at, content

    def entries(self, offset: int, length: int) -> Iterator[tuple[int, bytes]]:
        """(offset, entries of the blocks from there on) of what is not a hole in a range that starts and ends
        with blocks; entries of 32 GiB at most each."""
        first = offset // BLOCK * ENTRY
        for at, content in self._pieces(first, first + file_size(length)):
            yield at // ENTRY * BLOCK, content

    def data_blocks(self, offset: int = 0, length: int | None = None) -> Iterator[int]:
        """The offsets of the blocks that are not all zero, in order: of all, or of a range that starts and
        ends with blocks."""
        length = self.capacity - offset if length is None else length
        for at, entries in self.entries(offset, length):
            for number in range(len(entries) // ENTRY):
                if entries[number * ENTRY : (number + 1) * ENTRY] != _ZERO:
                    yield at + number * BLOCK

    def counts(self) -> tuple[int, int]:
        """Bytes of the disk in blocks of content and in blocks of zeroes."""
        content = sum(min(BLOCK, self.capacity - offset) for offset in self.data_blocks())
        return content, self.capacity - content

    def digest(self) -> str:
        """BLAKE3 (hex) of the whole file, holes included."""
        hasher = blake3()
        at = 0
        for start, content in self.pieces():
            _hash_zeroes(hasher, start - at)
            hasher.update(content)
            at = start + len(content)
        _hash_zeroes(hasher, self.size - at)
        return str(hasher.hexdigest())

    def _written(self, stop: int, end: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of what is not a hole between two offsets in the file; file systems make holes of
        whole sectors, so of whole entries."""
        while stop < end:
            try:
                start = os.lseek(self._file, stop, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            stop = os.lseek(self._file, start, os.SEEK_HOLE)
            if start < end:
                yield start, min(stop, end)

    def _write(self, content: bytes, at: int) -> None:
        with self._sentences():
            pwrite(self._file, content, at)

    def _sentences(self) -> AbstractContextManager[None]:
        return translate_os_errors(THIS_MACHINE, str(self.path))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Digests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _hash_zeroes(hasher: blake3, count: int) -> None:
    for start in range(0, count, _CHUNK):
        hasher.update(_ZERO_CHUNK[: min(_CHUNK, count - start)])
