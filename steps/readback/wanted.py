"""Which blocks of an image are compared, and in which order they are read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.base.units import GiB
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK

REREAD_SHARE = 0.005
"""Of the blocks of content that the host digests, so many are read over the wire too, at least one."""

_SPAN = 256 * GiB
"""Bytes of the disk whose runs of zeroes are held at a time."""


@dataclass(frozen=True)
class Wanted:
    """`some`: runs of whole blocks (offset, length), in order; None for all."""

    digests: Digests
    some: Sequence[tuple[int, int]] | None

    @property
    def ranges(self) -> Sequence[tuple[int, int]]:
        """(offset, length) of runs of whole blocks."""
        return [(0, self.digests.capacity)] if self.some is None else self.some

    def content(self) -> Iterator[int]:
        """The offsets of those whose digests say that they are not all zero."""
        for offset, length in self.ranges:
            yield from self.digests.data_blocks(offset, length)

    def reread(self, chance: random.Random) -> tuple[int, list[int]]:
        """How many blocks of content there are, and the offsets, in order, of those to be read over the wire
        too."""
        count, chosen, one = 0, [], 0
        for block in self.content():
            count += 1
            if chance.random() < REREAD_SHARE:
                chosen.append(block)
            elif chance.random() * count < 1:
                one = block
        return count, chosen or [one][:count]

    def to_read(self, zeroes: Callable[[int, int], list[tuple[int, int]]]) -> Iterator[int]:
        """The offsets of those that are to be read, in order: a block is taken as zero only if its digest
        says zero and the image's tables do, which `zeroes(start, end)` tells; it is not asked of `some`,
        which are content but for a few."""
        if self.some is not None:
            for offset, length in self.some:
                yield from range(offset, offset + length, BLOCK)
            return
        for start in range(0, self.digests.capacity, _SPAN):
            end = min(start + _SPAN, self.digests.capacity)
            at = start
            for zero, stop in [*zeroes(start, end), (end, end)]:
                yield from range(at, zero, BLOCK)
                yield from self.digests.data_blocks(zero, stop - zero)
                at = stop
