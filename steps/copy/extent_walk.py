"""What to do next on a disk: two views of its zeroes laid over each other, asked for lazily, a window at a
time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from steps.copy.extents import Blocks, Extent, Piece, by_blocks, overlay, windows, within

Ask = Callable[[int, int, Callable[[list[Extent] | None], None]], None]
"""``ask(offset, length, then)`` calls ``then(extents)`` now or later, with extents that cover the range; None
if they could not be told."""


class Survey:
    """The pieces of `ranges` (offset, length), in order. Only what is known so far can be taken; `top_up`
    learns more. What could not be told is content."""

    def __init__(self, ranges: Iterable[tuple[int, int]], left: Ask, right: Ask) -> None:
        self.blind = 0
        """Bytes of ranges whose extents a side failed to tell."""
        self._windows = windows(ranges)
        self._left = left
        self._right = right
        self._pieces: deque[Piece] = deque()
        self._known = 0
        self._asking = False
        self._at_end = False

    @property
    def exhausted(self) -> bool:
        return self._at_end and not self._asking and not self._pieces

    def top_up(self, ahead: int) -> None:
        """Asks for the next window if less than `ahead` bytes are known and no answer is under way."""
        if self._asking or self._at_end or self._known >= ahead:
            return
        window = next(self._windows, None)
        if window is None:
            self._at_end = True
            return
        self._asking = True
        answers: dict[str, list[Blocks]] = {}
        offset, end = window[0][0], sum(window[-1])
        wanted = sum(length for _, length in window)

        def learn(side: str, extents: list[Extent] | None) -> None:
            if extents is None:
                self.blind += wanted
                extents = [Extent(offset, end - offset, False)]
            answers[side] = by_blocks(extents, offset, end - offset)
            if len(answers) == 2:
                self._pieces.extend(within(overlay(answers["left"], answers["right"]), window))
                self._known += wanted
                self._asking = False

        self._left(offset, end - offset, lambda extents: learn("left", extents))
        self._right(offset, end - offset, lambda extents: learn("right", extents))

    def next(self) -> Piece | None:
        """The piece that `take` would take from; None if no more is known."""
        return self._pieces[0] if self._pieces else None

    def take(self, length: int) -> Piece:
        """The next piece's first `length` bytes, or all of it if that is less."""
        piece, rest = self._pieces.popleft().split(length)
        if rest is not None:
            self._pieces.appendleft(rest)
        self._known -= piece.length
        return piece
