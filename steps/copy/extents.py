"""Runs of zeroes and of content on a disk, as values. Offsets and lengths are bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runner.base.units import GiB, MiB

BLOCK = MiB
"""The unit of reading, hashing and writing: block i is [i MiB, min((i+1) MiB, capacity)). Requests of 1 MiB
keep pace with nbdcopy, 256 KiB ones do not (measured with libnbd 1.14 and qemu-nbd 7.2: 1.2 s a GiB)."""

WINDOW = 2 * GiB
"""Extents are asked for this much at a time. Servers that are slow to answer (VDDK) then delay the first byte
by one answer instead of by a whole disk's, while the holes of 64 TiB take 32,768 questions (seconds, not
minutes). It is the largest power of two that fits the 32 bits of an NBD request's length, and a multiple of
BLOCK."""

NEAR = 64 * MiB
"""Ranges less than this apart are asked about together: an answer costs a round trip, in which nothing else
is learned, and what changed in a day lies in thousands of places. Farther apart, servers that are slow to
answer would look at too much that nobody needs."""


@dataclass(frozen=True, slots=True)
class Extent:
    """`zero`: every byte reads as zero. Otherwise the bytes are unknown until read."""

    offset: int
    length: int
    zero: bool

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole blocks (the disk's last one may be shorter) of which two sides are known: see `overlay`."""

    offset: int
    length: int
    left_zero: bool
    right_zero: bool

    @property
    def end(self) -> int:
        return self.offset + self.length

    def split(self, length: int) -> tuple[Piece, Piece | None]:
        """The first `length` bytes and the rest, if any."""
        if length >= self.length:
            return self, None
        return (
            Piece(self.offset, length, self.left_zero, self.right_zero),
            Piece(self.offset + length, self.length - length, self.left_zero, self.right_zero),
        )


def merge(extents: Iterable[Extent]) -> list[Extent]:
    """Neighbours of the same kind become one; `extents` are in order, without gaps or overlaps."""
    merged: list[Extent] = []
    for extent in extents:
        if extent.length == 0:
            continue
        if merged and merged[-1].zero == extent.zero:
            extent = Extent(merged[-1].offset, extent.end - merged[-1].offset, extent.zero)
            merged[-1] = extent
        else:
            merged.append(extent)
    return merged


def whole_blocks(extents: Iterable[Extent], offset: int, length: int) -> list[Extent]:
    """[offset, offset + length) as runs of whole blocks: a block counts as zero only if all of its bytes do.

    `offset` is the start of a block; what `extents` (in order) leave out counts as content.
    """
    end = offset + length
    runs: list[Extent] = []
    at = offset
    for extent in _zeroes(extents):
        start = min(end, max(at, -(-extent.offset // BLOCK) * BLOCK))
        stop = end if extent.end >= end else extent.end // BLOCK * BLOCK
        if stop > start:
            runs += [Extent(at, start - at, False), Extent(start, stop - start, True)]
            at = stop
    return merge([*runs, Extent(at, end - at, False)])


def _zeroes(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The runs of zeroes among them, joined: two halves of a block may be two extents."""
    return (extent for extent in merge(extents) if extent.zero)


def overlay(left: Iterable[Extent], right: Iterable[Extent]) -> list[Piece]:
    """Two views of the same bytes, both in order, without gaps and of the same range, laid over each
    other."""
    pieces: list[Piece] = []
    rights = iter(right)
    other = next(rights, None)
    for extent in left:
        at = extent.offset
        while at < extent.end:
            while other is not None and other.end <= at:
                other = next(rights, None)
            if other is None:
                raise ValueError(f"the second view ends before offset {extent.end}")
            end = min(extent.end, other.end)
            pieces.append(Piece(at, end - at, extent.zero, other.zero))
            at = end
    return pieces


def gaps(capacity: int, done: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges (offset, length) of [0, capacity) that are not in `done`, in order; `done` is in any
    order."""
    left: list[tuple[int, int]] = []
    at = 0
    for offset, length in sorted(done):
        if offset > at:
            left.append((at, offset - at))
        at = max(at, offset + length)
    if at < capacity:
        left.append((at, capacity - at))
    return left


def windows(ranges: Iterable[tuple[int, int]], window: int = WINDOW) -> Iterator[list[tuple[int, int]]]:
    """`ranges` (in order) in groups that span at most `window` bytes; what is longer is cut. Within a group
    they lie less than `NEAR` apart."""
    group: list[tuple[int, int]] = []
    for offset, length in ranges:
        for start in range(offset, offset + length, window):
            part = (start, min(window, offset + length - start))
            if group and not _is_near(group, part, window):
                yield group
                group = []
            group.append(part)
    if group:
        yield group


def _is_near(group: list[tuple[int, int]], part: tuple[int, int], window: int) -> bool:
    return part[0] - sum(group[-1]) < NEAR and sum(part) - group[0][0] <= window


def within(pieces: Iterable[Piece], ranges: Iterable[tuple[int, int]]) -> Iterator[Piece]:
    """What of `pieces` lies in `ranges`; both in order, and `pieces` without gaps over all of them."""
    left = iter(pieces)
    piece: Piece | None = None
    for offset, length in ranges:
        at = offset
        while at < offset + length:
            while piece is None or piece.end <= at:
                piece = next(left)
            end = min(piece.end, offset + length)
            yield Piece(at, end - at, piece.left_zero, piece.right_zero)
            at = end
