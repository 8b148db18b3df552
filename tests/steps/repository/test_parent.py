"""What a next image may be backed by is what retention counts on: both know the same of a chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from steps.repository import catalogue, parent, reader, verification_records
from steps.repository.parent import NoParentError, Sought
from steps.repository.verification_records import (
    Comparison,
    DiskCompared,
    DiskVerified,
    Suspect,
    Suspicion,
    Verification,
)
from tests.chain import CAPACITY, Chain
from tests.hub import INSTANCE, VCENTER, Hub

AT = datetime(2026, 11, 20, tzinfo=UTC)


def at_rest(day: int, *, passed: bool, key: int = 2000) -> Verification:
    at, different = AT + timedelta(days=day), () if passed else (0,)
    disk = DiskVerified(key=key, at=at, level="chain", blocks=4, compared=4, different=different)
    return Verification(disks=(disk,))


def against_source(*, passed: bool) -> Comparison:
    different = () if passed else (0,)
    return Comparison(disks=(DiskCompared(key=2000, at=AT, blocks=4, compared=4, changed=0, different=different),))


def suspect(key: int = 2000) -> Suspect:
    return Suspect(disks=(Suspicion(key=key, why="CBT forgot a write", run="r", at=AT),))


@pytest.mark.parametrize(
    ("known", "why"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({1: at_rest(1, passed=False)}, "failed verification at rest", id="damaged"),
        pytest.param({0: at_rest(1, passed=False)}, "failed verification at rest", id="damaged below"),
        pytest.param(
            {0: at_rest(2, passed=False), 1: at_rest(1, passed=True)},
            "failed verification at rest: blocks differ",
            id="found damaged below after all was read",
        ),
        pytest.param({0: at_rest(1, passed=False), 1: at_rest(2, passed=True)}, None, id="all was read since"),
        pytest.param(
            {0: at_rest(3, passed=False), 1: at_rest(1, passed=False), 2: at_rest(2, passed=True)},
            "failed verification at rest",
            id="all was read between two that found damage",
        ),
        pytest.param({0: suspect(), 2: at_rest(2, passed=True)}, "is suspect: CBT forgot a write", id="suspect below"),
        pytest.param(
            {0: against_source(passed=False), 2: at_rest(2, passed=True)},
            "differed from the VM",
            id="read wrongly below",
        ),
        pytest.param({0: against_source(passed=True), 1: at_rest(2, passed=True)}, None, id="as in the VM"),
    ],
)
def test_nothing_is_built_on_what_does_not_count(
    hub: Hub, known: dict[int, verification_records.Mark], why: str | None
) -> None:
    made = Chain(Path(hub.root))
    for number in range(3):
        made.add({2000: number - 1 if number else None}, {2000: ((0, 512, number + 1),)})
    for number, mark in known.items():
        verification_records.write(hub.host, str(made.path(number)), mark)
    newest = catalogue.read(hub.host, hub.root).points[-1]
    assert newest.good is (why is None)
    if why is None:
        assert find(hub, made).point == made.points[2]
    else:
        with pytest.raises(NoParentError, match=why):
            find(hub, made)


def test_of_a_point_with_a_damaged_disk_the_others_are_built_on_and_what_is_then_counts(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None, 2001: None}, {})
    verification_records.write(hub.host, str(made.path(0)), at_rest(1, passed=False, key=2001))
    with pytest.raises(NoParentError):
        find(hub, made, 2001)
    assert find(hub, made).point == made.points[0]
    made.add({2000: 0, 2001: None}, {})
    assert [point.good for point in catalogue.read(hub.host, hub.root).points] == [False, True]


def test_a_disk_that_was_away_begins_anew(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None, 2001: None}, {})
    made.add({2000: 0}, {2000: ((0, 512, 1),)})
    with pytest.raises(NoParentError, match=f"it was not in {made.points[1]}"):
        find(hub, made, 2001)
    assert find(hub, made).point == made.points[1]


def test_a_sample_that_was_read_whole_later_makes_a_whole_parent(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {}, level="sample")
    assert find(hub, made).level == "sample"
    verification_records.write(hub.host, str(made.path(0)), at_rest(1, passed=True))
    assert find(hub, made).level == "full"


def test_of_two_points_of_one_second_the_later_is_the_parent_whatever_they_are_called(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    earlier = made.add({2000: None}, {}, at=AT, run=2)
    later = made.add({2000: 0}, {2000: ((0, 512, 1),)}, at=AT + timedelta(milliseconds=1), run=1)
    assert later < earlier, "the names stand the other way round"
    assert find(hub, made).point == later
    assert [point.point for point in catalogue.read(hub.host, hub.root).points] == [earlier, later]
    assert [entry.point for entry in reader.read(hub.host, str(made.directory)).entries] == [earlier, later]


def find(hub: Hub, made: Chain, key: int = 2000) -> parent.Parent:
    uuid = f"6000C290-0000-0000-0000-{key:012d}"
    return parent.find(hub.host, str(made.directory), Sought(key, uuid, CAPACITY, VCENTER, INSTANCE), run="now")
