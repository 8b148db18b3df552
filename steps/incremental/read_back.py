"""Which blocks of an image a verification reads back: of an incremental, its own and some of its parents'."""

from __future__ import annotations

import bisect
import heapq
from dataclasses import dataclass

from runner.step.context import Context
from steps.copy.changes import spread
from steps.copy.compare import sample
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK, gaps
from steps.incremental.increment import LEAST, MOST
from steps.incremental.written_map import blocks_of, read_map
from steps.values.copied import Copied
from steps.values.verified import Level

INHERITED_SHARE = 100
"""Of the blocks that an incremental takes from its parents, one in so many is read back."""


@dataclass(frozen=True)
class Scope:
    """`own`: runs of blocks (offset, length) that the image holds itself, None if it holds all; `blocks`:
    offsets of those that are compared, in order, None for every one."""

    own: list[tuple[int, int]] | None
    blocks: list[int] | None

    def is_own(self, offset: int) -> bool:
        if self.own is None:
            return True
        number = bisect.bisect_right(self.own, offset, key=lambda run: run[0]) - 1
        return number >= 0 and offset < sum(self.own[number])

    def inherited(self, compared: int) -> int:
        """How many of the `compared` blocks are a parent's."""
        if self.own is None:
            return 0
        if self.blocks is None:
            return compared - blocks_of(self.own)
        return sum(not self.is_own(block) for block in self.blocks)


def scope_of(ctx: Context, copied: Copied, level: Level, digests: Digests) -> Scope:
    own = None if copied.parent is None else read_map(ctx, copied.image, copied.written)
    if level == "sample":
        return Scope(own, sample(digests, seed=ctx.run.id))
    if level == "chain" or own is None:
        return Scope(own, None)
    seed = f"{ctx.run.id} {copied.key}"
    inherited = gaps(digests.capacity, own)
    some = spread(inherited, seed=seed, share=None, one_in=INHERITED_SHARE, least=LEAST, most=MOST)
    mine = (block for offset, length in own for block in range(offset, offset + length, BLOCK))
    return Scope(own, list(heapq.merge(mine, some)))
