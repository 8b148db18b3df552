"""What to do next: asked for as far ahead as it is needed, and told in order."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from runner.base.units import GiB, MiB
from steps.copy.extent_walk import Survey
from steps.copy.extents import BLOCK, WHOLE, WINDOW, Extent, Piece

AHEAD = 16 * BLOCK
APART = [(number * GiB, BLOCK) for number in range(40)]


class Asked:
    """Questions of one side that are answered when the test says so."""

    def __init__(self) -> None:
        self.waiting: dict[int, Callable[[], None]] = {}

    def ask(self, offset: int, length: int, then: Callable[[list[Extent] | None], None]) -> None:
        # Every second block of the disk is zero.
        zero = offset // GiB % 2 == 0
        self.waiting[offset] = lambda: then([Extent(offset, length, zero)])

    def answer(self, offset: int) -> None:
        self.waiting.pop(offset)()


@pytest.fixture
def sides() -> tuple[Asked, Asked]:
    return Asked(), Asked()


def test_blocks_that_lie_far_apart_are_asked_about_at_once_and_come_in_order(sides: tuple[Asked, Asked]) -> None:
    """If one answer waited for the other, a copy through SSH would take a round trip for each of them."""
    left, right = sides
    survey, chance, found = Survey(APART, left.ask, right.ask), random.Random(1), list[Piece]()
    survey.top_up(AHEAD)
    while not survey.exhausted:
        assert len(left.waiting) == len(right.waiting) == min(16, len(APART) - len(found))
        for offset in chance.sample(sorted(left.waiting), len(left.waiting)):
            for side in chance.sample(sides, 2):
                side.answer(offset)
        while survey.next():
            found.append(survey.take(BLOCK))
        survey.top_up(AHEAD)
    masks = [0 if number % 2 == 0 else WHOLE for number in range(len(APART))]
    assert found == [Piece(offset, BLOCK, mask, mask) for (offset, _), mask in zip(APART, masks, strict=True)]


def test_nothing_is_told_before_what_lies_before_it(sides: tuple[Asked, Asked]) -> None:
    left, right = sides
    survey = Survey(APART[:3], left.ask, right.ask)
    survey.top_up(AHEAD)
    for offset in (2 * GiB, GiB):
        left.answer(offset)
        right.answer(offset)
    left.answer(0)
    assert survey.next() is None
    right.answer(0)
    assert [survey.take(BLOCK).offset for _ in range(3)] == [0, GiB, 2 * GiB]


def test_of_a_disk_as_a_whole_no_more_is_asked_than_the_next_window(sides: tuple[Asked, Asked]) -> None:
    """Servers that are slow to answer delay the first byte by one answer."""
    left, right = sides
    survey = Survey([(0, 3 * WINDOW)], left.ask, right.ask)
    survey.top_up(AHEAD)
    assert list(left.waiting) == list(right.waiting) == [0]
    left.answer(0)
    right.answer(0)
    survey.take(WINDOW - 15 * MiB)
    survey.top_up(AHEAD)
    assert list(left.waiting) == list(right.waiting) == [WINDOW]
