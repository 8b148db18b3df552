"""Two contexts that are entered at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.base.entering import enter_both


def test_neither_waits_for_the_other_and_the_second_is_left_first() -> None:
    there, left = threading.Barrier(2), []

    @contextmanager
    def context(name: str) -> Iterator[str]:
        there.wait(10)
        yield name
        left.append(name)

    with enter_both(context("first"), context("second")) as names:
        assert names == ("first", "second") and left == []
    assert left == ["second", "first"]


@pytest.mark.parametrize(("fails", "raised"), [("a", "a"), ("b", "b"), ("ab", "a")])
def test_where_one_cannot_be_entered_the_other_is_left(fails: str, raised: str) -> None:
    left = []

    @contextmanager
    def context(name: str) -> Iterator[None]:
        if name in fails:
            raise OSError(name)
        yield
        left.append(name)

    @contextmanager
    def kept(name: str) -> Iterator[None]:
        try:
            with context(name):
                yield
        except OSError:
            left.append(name)
            raise

    with pytest.raises(OSError, match=raised), enter_both(kept("a"), kept("b")):
        raise AssertionError("it was not entered whole")
    assert sorted(left) == ["a", "b"]
