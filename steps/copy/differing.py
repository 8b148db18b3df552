"""Where two states of a disk differ, by their digests alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from steps.copy.digests import ENTRY, Digests
from steps.copy.extents import BLOCK

_CHUNK = 4096
"""Blocks whose digests are compared at a time."""


def differing(one: Digests, other: Digests) -> Iterator[int]:
    """Offsets of the blocks whose digests are not the same; all beyond the end of the shorter one."""
    for first in range(0, one.size // ENTRY, _CHUNK):
        mine, others = (digests.get(first * BLOCK, _CHUNK) for digests in (one, other))
        if mine != others:
            for at in range(0, len(mine), ENTRY):
                if mine[at : at + ENTRY] != others[at : at + ENTRY]:
                    yield (first + at // ENTRY) * BLOCK


def runs(blocks: Iterable[int], capacity: int) -> list[tuple[int, int]]:
    """(offset, length) of what `blocks`, offsets in order, are together."""
    found: list[tuple[int, int]] = []
    for offset in blocks:
        length = min(BLOCK, capacity - offset)
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return found
