"""Runs of zeroes and of content on a disk, as values. Offsets and lengths are bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runner.base.units import GiB, KiB, MiB

BLOCK = MiB
"""The unit of digests, and of what is safe: block i is [i MiB, min((i+1) MiB, capacity)). Where all of it is
content it is read and written in one request. Requests of 1 MiB keep pace with nbdcopy, 256 KiB ones do not
(measured with libnbd 1.14 and qemu-nbd 7.2: 1.2 s a GiB)."""

PART = 64 * KiB
"""What of a block is content is known by this much, rounded outward: bit i of a mask stands for the block's
bytes from i * PART on, and is set unless all of them are zero. A qcow2 file stores clusters of this size, and
VDDK tells allocation by it; a finer grid would only make more requests of the same bytes."""

WHOLE = (1 << BLOCK // PART) - 1
"""The mask of a block that is content all over."""

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
class Blocks:
    """Whole blocks (the disk's last one may be shorter), in each of which the same parts are `content`, a
    mask; the bits of parts beyond the disk's end are not set."""

    offset: int
    length: int
    content: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole blocks, as `Blocks`, of which two sides are known, each by its mask: see `overlay`."""

    offset: int
    length: int
    left: int
    right: int

    @property
    def end(self) -> int:
        return self.offset + self.length

    def split(self, length: int) -> tuple[Piece, Piece | None]:
        """The first `length` bytes, whole blocks, and the rest, if any."""
        if length >= self.length:
            return self, None
        return (
            Piece(self.offset, length, self.left, self.right),
            Piece(self.offset + length, self.length - length, self.left, self.right),
        )


def mask_of(start: int, length: int) -> int:
    """Of the parts that [start, start + length) of a block touches."""
    return (1 << -(-(start + length) // PART)) - (1 << start // PART)


def parts_of(length: int) -> int:
    """The mask of all parts of a block of `length`."""
    return mask_of(0, length)


def ranges(mask: int, length: int) -> list[tuple[int, int]]:
    """(start, end) of the runs of parts that `mask` has, in bytes of a block of `length`; in order, apart
    from each other."""
    found: list[tuple[int, int]] = []
    at = 0
    while left := mask >> at:
        at += (left & -left).bit_length() - 1
        run = mask >> at
        parts = (~run & (run + 1)).bit_length() - 1
        found.append((at * PART, min((at + parts) * PART, length)))
        at += parts
    return found


def merge(extents: Iterable[Extent]) -> list[Extent]:
    """Neighbours of the same kind become one; `extents` are in order, without overlaps."""
    merged: list[Extent] = []
    for extent in extents:
        if extent.length == 0:
            continue
        if merged and merged[-1].zero == extent.zero and merged[-1].end == extent.offset:
            extent = Extent(merged[-1].offset, extent.end - merged[-1].offset, extent.zero)
            merged[-1] = extent
        else:
            merged.append(extent)
    return merged


def by_blocks(extents: Iterable[Extent], offset: int, length: int) -> list[Blocks]:
    """[offset, offset + length), whole blocks, in runs of those with the same parts of content. A part is
    zero only if all of its bytes are; what `extents` (in order) leave out counts as content."""
    runs: list[Blocks] = []
    at, mask = offset, 0
    for start, end, zero in _by_parts(extents, offset, offset + length):
        for low, high in _cut(start, end):
            if not zero:
                mask |= mask_of(low % BLOCK, min(high - low, BLOCK))
            if high % BLOCK and high != offset + length:
                continue  # the next run says what the rest of this block is
            if runs and runs[-1].content == mask:
                at = runs.pop().offset
            runs.append(Blocks(at, high - at, mask))
            at, mask = high, 0
    return runs


def _by_parts(extents: Iterable[Extent], at: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """[at, end) as (start, end, whether all is zero), in whole parts."""
    # Joined first: the two halves of a part may be two extents.
    for extent in merge(extents):
        start = max(at, -(-extent.offset // PART) * PART)
        stop = end if extent.end >= end else extent.end // PART * PART
        if extent.zero and stop > start:
            if start > at:
                yield at, start, False
            yield start, stop, True
            at = stop
    if end > at:
        yield at, end, False


def _cut(start: int, end: int) -> Iterator[tuple[int, int]]:
    """[start, end) as (start, end) of what lies in one block, and of the whole blocks between."""
    first, last = -(-start // BLOCK) * BLOCK, end // BLOCK * BLOCK
    cuts = sorted({start, min(first, end), max(last, start), end})
    yield from itertools.pairwise(cuts)


def overlay(left: Iterable[Blocks], right: Iterable[Blocks]) -> list[Piece]:
    """Two views of the same blocks, both in order, without gaps and of the same range, laid over each
    other."""
    pieces: list[Piece] = []
    rights = iter(right)
    other = next(rights, None)
    for run in left:
        at = run.offset
        while at < run.end:
            while other is not None and other.end <= at:
                other = next(rights, None)
            if other is None:
                raise ValueError(f"the second view ends before offset {run.end}")
            end = min(run.end, other.end)
            pieces.append(Piece(at, end - at, run.content, other.content))
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


def one_by_one(offsets: Iterable[int], capacity: int) -> list[tuple[int, int]]:
    """Each of the blocks at `offsets` as a range (offset, length)."""
    return [(offset, min(BLOCK, capacity - offset)) for offset in offsets]


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
            yield Piece(at, end - at, piece.left, piece.right)
            at = end
