"""What of a disk changed since its parent, as its tracking says: rounded to clusters for writing, to blocks
for reading."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterable, Iterator

from steps.copy.extents import BLOCK, PART, mask_of, one_by_one

CLUSTER = PART
"""An overlay stores what is written in clusters of this size; a part of one would be filled up from the
parent. Trackers name areas in blocks of 64 KiB or more."""


class Changes:
    """`areas` are (offset, length) in order; `capacity` in bytes."""

    def __init__(self, areas: Iterable[tuple[int, int]], capacity: int) -> None:
        self.capacity = capacity
        self.parts = list(_rounded(areas, CLUSTER, capacity))
        """(start, end) in whole clusters, in order, apart from each other."""
        self._ends = [end for _, end in self.parts]

    @property
    def size(self) -> int:
        """Bytes of `parts`."""
        return sum(end - start for start, end in self.parts)

    def blocks(self) -> list[tuple[int, int]]:
        """(offset, length) of the runs of whole blocks that anything changed in."""
        spans = ((start, end - start) for start, end in self.parts)
        return [(start, end - start) for start, end in _rounded(spans, BLOCK, self.capacity)]

    def partly(self) -> list[tuple[int, int]]:
        """(offset, length) of each block that changed in part: an edge of what changed lies inside it."""
        found: list[int] = []
        for edge in itertools.chain.from_iterable(self.parts):
            block = edge // BLOCK * BLOCK
            if edge not in (block, self.capacity) and (not found or found[-1] != block):
                found.append(block)
        return one_by_one(found, self.capacity)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """(start, end) of what changed in [start, end)."""
        found = []
        for number in range(bisect.bisect_right(self._ends, start), len(self.parts)):
            low, high = self.parts[number]
            if low >= end:
                break
            found.append((max(low, start), min(high, end)))
        return found

    def mask(self, offset: int, length: int) -> int:
        """The parts that changed of the block at `offset`, see `extents`."""
        found = 0
        for start, end in self.within(offset, offset + length):
            found |= mask_of(start - offset, end - start)
        return found

    def split(self, start: int, end: int) -> list[tuple[int, int, bool]]:
        """[start, end) in order as (start, end, whether it changed)."""
        pieces: list[tuple[int, int, bool]] = []
        at = start
        for low, high in self.within(start, end):
            if low > at:
                pieces.append((at, low, False))
            pieces.append((low, high, True))
            at = high
        if at < end:
            pieces.append((at, end, False))
        return pieces


def _rounded(areas: Iterable[tuple[int, int]], unit: int, capacity: int) -> Iterator[tuple[int, int]]:
    begun: tuple[int, int] | None = None
    for offset, length in areas:
        start, end = offset // unit * unit, min(-(-(offset + length) // unit) * unit, capacity)
        if begun is not None and start <= begun[1]:
            begun = (begun[0], max(begun[1], end))
            continue
        if begun is not None:
            yield begun
        begun = (start, end)
    if begun is not None:
        yield begun


def spread(
    runs: Iterable[tuple[int, int]], *, seed: str, share: float | None, one_in: int, least: int, most: int
) -> list[int]:
    """Offsets of sample blocks of `runs` (offset, length: whole blocks, in order), in order: one at random
    from each of as many equal parts of them. `share` (0 to 1) is taken as it is, though not below `least`
    blocks; without it one block `one_in` so many is taken, between `least` and `most`."""
    counted = [(offset, -(-length // BLOCK)) for offset, length in runs]
    total = sum(blocks for _, blocks in counted)
    wanted = min(total // one_in, most) if share is None else math.ceil(total * share)
    return _pick(counted, total, min(total, max(wanted, least)), seed)


def _pick(counted: list[tuple[int, int]], total: int, wanted: int, seed: str) -> list[int]:
    chance = random.Random(seed)
    found: list[int] = []
    runs, before = iter(counted), 0
    offset, blocks = next(runs, (0, 0))
    for number in range(wanted):
        low, high = number * total // wanted, (number + 1) * total // wanted
        chosen = chance.randrange(low, high)
        while chosen >= before + blocks:
            before += blocks
            offset, blocks = next(runs)
        found.append(offset + (chosen - before) * BLOCK)
    return found
