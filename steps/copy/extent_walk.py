"""What to do next on a disk: two views of its zeroes laid over each other, asked for lazily, a window at a
time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from steps.copy.extents import Blocks, Extent, Piece, by_blocks, overlay, windows, within

Ask = Callable[[int, int, Callable[[list[Extent] | None], None]], None]
"""``ask(offset, length, then)`` calls ``then(extents)`` now or later, with extents that cover the range; None
if they could not be told."""


class Survey:
    """The pieces of `ranges` (offset, length), in order. Only what is known so far can be taken; `top_up`
    learns more. What could not be told is content."""

    def __init__(self, ranges: Iterable[tuple[int, int]], left: Ask, right: Ask) -> None:
        self.blind = 0
        """Bytes of ranges whose extents the left side failed to tell."""
        self._windows = windows(ranges)
        self._left = left
        self._right = right
        self._pieces: deque[Piece] = deque()
        self._asked: deque[_Question] = deque()
        """Windows whose answers are under way, in order."""
        self._ahead = 0
        """Bytes of `_pieces` and of `_asked`."""
        self._at_end = False

    @property
    def exhausted(self) -> bool:
        return self._at_end and not self._asked and not self._pieces

    def top_up(self, ahead: int) -> None:
        """Asks for further windows as long as less than `ahead` bytes are known or under way. Of blocks that
        lie far apart each is a window, and if one answer had to wait for the other, each block would take a
        round trip."""
        while not self._at_end and self._ahead < ahead:
            window = next(self._windows, None)
            if window is None:
                self._at_end = True
            else:
                self._ask(_Question(window))

    def _ask(self, question: _Question) -> None:
        self._asked.append(question)
        self._ahead += question.wanted
        start, length = question.start, question.length

        def learn(side: str, extents: list[Extent] | None) -> None:
            if extents is None:
                self.blind += question.wanted if side == "left" else 0
                extents = [Extent(start, length, False)]
            question.answers[side] = by_blocks(extents, start, length)
            while self._asked and len(self._asked[0].answers) == 2:
                self._pieces.extend(self._asked.popleft().pieces())

        self._left(start, length, lambda extents: learn("left", extents))
        self._right(start, length, lambda extents: learn("right", extents))

    def next(self) -> Piece | None:
        """The piece that `take` would take from; None if no more is known."""
        return self._pieces[0] if self._pieces else None

    def take(self, length: int) -> Piece:
        """The next piece's first `length` bytes, or all of it if that is less."""
        piece, rest = self._pieces.popleft().split(length)
        if rest is not None:
            self._pieces.appendleft(rest)
        self._ahead -= piece.length
        return piece


class _Question:
    def __init__(self, window: list[tuple[int, int]]) -> None:
        self.window = window
        self.start = window[0][0]
        self.length = sum(window[-1]) - self.start
        self.wanted = sum(length for _, length in window)
        self.answers: dict[str, list[Blocks]] = {}
        """By side; complete with both."""

    def pieces(self) -> Iterator[Piece]:
        return within(overlay(self.answers["left"], self.answers["right"]), self.window)
