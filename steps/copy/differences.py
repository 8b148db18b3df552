"""differences(): all that differs from the digests, where compare() ends at the first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steps.copy.compare import BlockDifference, Compared, compare
from steps.copy.digests import Digests
from steps.copy.endpoint import Endpoint
from steps.copy.extents import BLOCK, one_by_one


@dataclass(frozen=True)
class Differences:
    blocks: tuple[BlockDifference, ...]
    """Those that differ, in order."""
    compared: int
    """Blocks: all that were wanted, or those up to the last difference that was looked for."""

    @property
    def offsets(self) -> tuple[int, ...]:
        """Of the blocks that differ, bytes, in order."""
        return tuple(block.offset for block in self.blocks)


def differences(
    image: Endpoint,
    digests: Digests,
    *,
    stop: threading.Event,
    most: int,
    blocks: Sequence[int] | None = None,
    ranges: Sequence[tuple[int, int]] | None = None,
    on_progress: Callable[[Compared], None] | None = None,
) -> Differences:
    """Of all blocks, of `ranges`, or of `blocks` (as compare() takes them) those that differ, at most `most`.
    Raises CopyError, Interrupted."""
    capacity = digests.capacity
    if blocks is not None:
        ranges = one_by_one(blocks, capacity)
    elif ranges is None:
        ranges = [(0, capacity)]
    size = sum(length for _, length in ranges)

    began, read = time.monotonic(), 0

    def tell(now: Compared) -> None:
        if on_progress is not None:
            done = size - now.total + now.done
            on_progress(Compared(done, size, read + now.read, time.monotonic() - began))

    found: list[BlockDifference] = []
    left = list(ranges)
    while left and len(found) < most:
        alone = None if blocks is None else [offset for offset, _ in left]
        try:
            compare(image, digests, stop=stop, blocks=alone, ranges=left, on_progress=tell)
            left = []
        except BlockDifference as difference:
            found.append(difference)
            read += difference.read
            left = _beyond(left, difference.offset + difference.length)
    return Differences(tuple(found), count(ranges) - count(left))


def count(ranges: Sequence[tuple[int, int]]) -> int:
    """Blocks of runs of whole blocks."""
    return sum(-(-length // BLOCK) for _, length in ranges)


def _beyond(ranges: Sequence[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """The part of them at `start` or after it."""
    ends = ((offset, offset + length) for offset, length in ranges)
    return [(max(offset, start), end - max(offset, start)) for offset, end in ends if end > start]
