"""The order of a VM's points: their sequence, which no clock makes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from steps.repository.history import Entry, oldest_first
from steps.repository.verification_records import Marks
from tests.chain import manifest_of

AT = datetime(2026, 11, 23, 17, tzinfo=UTC)
DAY, YEAR = timedelta(days=1), timedelta(days=365)


def entry(number: int, at: datetime, parent: Entry | None = None, sequence: int | None = None) -> Entry:
    """A point whose name and times are all of `at`."""
    made = manifest_of(number, at, {2000: parent and parent.point}, sequence=sequence)
    return Entry(f"/repository/vm/{made.point}", made, Marks())


def assert_in_order(entries: Sequence[Entry]) -> None:
    """However they were listed."""
    for shuffled in permutations(entries):
        assert [one.point for one in oldest_first(shuffled)] == [one.point for one in entries]


def test_the_sequence_counts_and_neither_clock_nor_name() -> None:
    assert_in_order([entry(0, AT + YEAR, sequence=1), entry(1, AT, sequence=2), entry(2, AT - YEAR, sequence=4)])


def test_points_of_before_there_was_a_sequence_stand_first_by_the_time_of_publication() -> None:
    assert_in_order([entry(0, AT + DAY), entry(1, AT + YEAR), entry(2, AT, sequence=1)])


@pytest.mark.parametrize("sequences", [(None, None, None), (2, 1, 1)], ids=["without sequence", "wrong sequence"])
def test_what_is_built_on_a_point_is_after_it(sequences: tuple[int | None, ...]) -> None:
    full = entry(0, AT + YEAR, sequence=sequences[0])
    first = entry(1, AT, full, sequences[1])
    assert_in_order([full, first, entry(2, AT + DAY, first, sequences[2])])


def test_a_chain_that_goes_round_has_an_order_still() -> None:
    one = entry(0, AT)
    other = entry(1, AT + DAY, one)
    (disk,) = one.manifest.disks
    round_ = one.manifest.model_copy(update={"disks": (disk.model_copy(update={"parent": other.point}),)})
    assert len(oldest_first([Entry(one.path, round_, Marks()), other])) == 2


def test_a_long_chain_is_no_deep_recursion() -> None:
    entries: list[Entry] = []
    for number in range(1500):
        entries.append(entry(number, AT + number * DAY, entries[-1] if entries else None))
    assert oldest_first(reversed(entries)) == tuple(entries)
