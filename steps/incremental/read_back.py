"""Which blocks of an image a verification reads back: of an incremental, its own and some of its parents'."""

from __future__ import annotations

import bisect
import heapq
from dataclasses import dataclass

from runner.step.context import Context
from steps.copy.changes import spread
from steps.copy.compare import sample
from steps.copy.digests import Digests
from steps.copy.extents import gaps, one_by_one
from steps.incremental.increment import LEAST, MOST
from steps.incremental.written_map import blocks_of, read_map
from steps.values.copied import Copied
from steps.values.verified import Level

INHERITED_SHARE = 100
"""Of the blocks that an incremental takes from its parents, one in so many is read back."""


@dataclass(frozen=True)
class Scope:
    """`own`: runs of blocks (offset, length) that the image holds itself, None if it holds all; `ranges`:
    runs of those that are compared, in order, None for all. Each of these is the image's own, or none of it
    is."""

    own: list[tuple[int, int]] | None
    ranges: list[tuple[int, int]] | None

    def is_own(self, offset: int) -> bool:
        if self.own is None:
            return True
        number = bisect.bisect_right(self.own, offset, key=lambda run: run[0]) - 1
        return number >= 0 and offset < sum(self.own[number])

    def inherited(self, compared: int) -> int:
        """How many of the `compared` blocks are a parent's."""
        if self.own is None:
            return 0
        if self.ranges is None:
            return compared - blocks_of(self.own)
        return blocks_of(run for run in self.ranges if not self.is_own(run[0]))


def scope_of(ctx: Context, copied: Copied, level: Level, digests: Digests) -> Scope:
    """A block that holds anything of this image is read back whole, what it inherits too. The inherited part
    was read through this image while it was copied, and proven by the parent's digest; but the block's own
    digest, which that becomes a part of, covers all of it, so nothing less can be compared with it."""
    own = None if copied.parent is None else read_map(ctx, copied.image, copied.written)
    if level == "sample":
        return Scope(own, one_by_one(sample(digests, seed=ctx.run.id), digests.capacity))
    if level == "chain" or own is None:
        return Scope(own, None)
    seed = f"{ctx.run.id} {copied.key}"
    inherited = gaps(digests.capacity, own)
    some = spread(inherited, seed=seed, share=None, one_in=INHERITED_SHARE, least=LEAST, most=MOST)
    return Scope(own, list(heapq.merge(own, one_by_one(some, digests.capacity))))
