"""Sets of byte ranges: sorted, disjoint, half open; touching ranges are one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Range = tuple[int, int]


class Ranges:
    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        behind = bisect_right(self._starts, end)
        if first < behind:
            start, end = min(start, self._starts[first]), max(end, self._ends[behind - 1])
        self._starts[first:behind] = [start]
        self._ends[first:behind] = [end]

    def update(self, other: Ranges) -> None:
        for start, end in other:
            self.add(start, end)

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """[start, end) in pieces that are wholly inside the set (True) or wholly outside."""
        index = bisect_right(self._ends, start)
        while start < end:
            if index == len(self._starts) or self._starts[index] >= end:
                yield start, end, False
                return
            if start < self._starts[index]:
                yield start, self._starts[index], False
                start = self._starts[index]
            stop = min(end, self._ends[index])
            yield start, stop, True
            start, index = stop, index + 1

    def within(self, start: int, end: int) -> Iterator[Range]:
        """The parts of the set inside [start, end)."""
        return ((first, last) for first, last, inside in self.split(start, end) if inside)


def aligned(start: int, end: int, block: int, limit: int) -> Range:
    """[start, end) widened to whole blocks, the last one cut at `limit`."""
    return start // block * block, min(-(-end // block) * block, limit)
