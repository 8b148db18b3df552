"""However many names there are, each portion of them is one command that a login shell takes."""

from __future__ import annotations

import random

import pytest

from runner.base.units import KiB
from runner.hosts.host import PORTION, portions
from runner.hosts.ssh.command_line import Word, command_line

LONGEST_COMMAND = 128 * KiB
"""execve(2), MAX_ARG_STRLEN."""


@pytest.mark.parametrize("alphabet", ["abc/ -", "é名\U0001f5a5", "'!\n\\"], ids=["plain", "wide", "quotes"])
def test_portions_are_all_of_it_in_order_and_each_fits(alphabet: str) -> None:
    chance = random.Random(1)
    names = ["".join(chance.choices(alphabet, k=chance.randrange(1, 255))) for _ in range(3000)]
    found = list(portions(names))
    assert [name for portion in found for name in portion] == names
    assert len(found) > 1
    for portion in found:
        argv = ("sh", "-c", "x" * 4 * KiB, "sh", *portion)
        assert len(command_line(argv, Word(), merged=False)) < LONGEST_COMMAND


def test_one_that_is_too_long_is_alone_and_nothing_is_none() -> None:
    assert list(portions(["a", "b" * PORTION, "c"])) == [("a",), ("b" * PORTION,), ("c",)]
    assert list(portions([])) == []
