"""Which points a repository of copies lacks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from steps.copies import missing
from steps.repository import layout
from steps.repository.history import Entry, oldest_first
from steps.repository.manifest import LAST_SEQUENCE
from steps.repository.verification_records import Marks
from steps.repository.vm_directory import VmDirectory
from steps.values.copy_form import CopyForm
from tests.chain import manifest_of, point_name
from tests.hub import INSTANCE

FIRST = datetime(2026, 11, 1, 17, tzinfo=UTC)


def at(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def directory(root: str, sequences: dict[int, int]) -> VmDirectory:
    """`sequences`: by number of the point."""
    path = f"{root}/{layout.vm_directory('pgtest1', INSTANCE)}"
    made = [manifest_of(number, at(number), {2000: None}, sequence=one) for number, one in sequences.items()]
    entries = oldest_first(Entry(f"{path}/{one.point}", one, Marks()) for one in made)
    files = (layout.image(2000), layout.digests(2000))
    return VmDirectory(path, entries=entries, stored={f"{one.path}/{file}": 1 for one in entries for file in files})


def test_what_is_newer_than_the_newest_copy_is_missing() -> None:
    due, left = missing.of_vm(directory("/main", {0: 1, 1: 2, 2: 3}), directory("/copies", {1: 2}), CopyForm())
    assert (due.points, left) == ((point_name(2, at(2)),), ())


def test_a_forged_point_with_a_high_number_does_not_end_all_copying() -> None:
    """It was copied before somebody took it out of the first repository; it may be locked in the second."""
    copies = directory("/copies", {0: 1, 1: 2, 2: LAST_SEQUENCE})
    due, (left,) = missing.of_vm(directory("/main", {0: 1, 1: 2, 3: 3}), copies, CopyForm())
    assert due.points == (point_name(3, at(3)),)
    assert left.startswith(f"pgtest1/{point_name(2, at(2))} is a copy of a point that is newer than all there are")
