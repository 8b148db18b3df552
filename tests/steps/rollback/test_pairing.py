"""Which disk of a VM is which disk of a restore point, and every reason why the disks are not those of then."""

from __future__ import annotations

import pytest

from runner.base.units import MiB
from steps.rollback.pairing import NotPaired, pairs
from steps.values.stored_point import StoredDisk, StoredPoint
from steps.vsphere.inventory import Controller, Disk, Uncovered
from tests.marked_vms import stored

POINT = "20261123T170000Z-3f9a"


def uuid(number: int) -> str:
    return f"6000C290-0000-4000-8000-{number:012d}"


def then(key: int, *, of: int | None = None) -> StoredDisk:
    return stored(key, MiB).model_copy(update={"backing_uuid": uuid(key if of is None else of)})


def now(key: int, *, of: int | None = None, capacity: int = MiB) -> Disk:
    return Disk(
        key=key,
        label=f"Hard disk {key - 1999}",
        controller=Controller(key=1000, kind="pvscsi", bus=0),
        unit=key - 2000,
        capacity=capacity,
        backing_uuid=uuid(key if of is None else of),
        datastore="ds1",
        mode="persistent",
        thin=True,
        change_tracking=True,
    )


def point(*disks: StoredDisk) -> StoredPoint:
    return StoredPoint(vm="db", point=POINT, path=f"/backup/db/{POINT}", host="store", disks=disks, notes=())


def test_disks_are_told_apart_by_the_uuid_of_their_backing_whatever_their_keys_are() -> None:
    found = pairs("db", point(then(2000), then(2001)), [now(2000, of=2001), now(16000, of=2000)], (), chosen=False)
    assert [(pair.stored.key, pair.live.key) for pair in found] == [(2000, 16000), (2001, 2000)]


@pytest.mark.parametrize(
    ("disks", "says"),
    [
        ([now(2000)], "disk 2001 (Hard disk 2) was removed since"),
        ([now(2000), now(2001, of=7)], "disk 2001 (Hard disk 2) is gone, and another disk has its place"),
        ([now(2000), now(2001), now(2002)], "Hard disk 3 (1.0 MiB) was added since"),
        ([now(2000), now(2001, capacity=2 * MiB)], "was grown since: it has 2.0 MiB (2097152 bytes), not 1.0 MiB"),
        ([now(2000), now(2001, capacity=512)], "was made smaller since"),
        ([now(2000), now(2001), now(2002, of=2001)], "is there 2 times (Hard disk 2, Hard disk 3)"),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_do(disks: list[Disk], says: str) -> None:
    with pytest.raises(NotPaired) as refused:
        pairs("db", point(then(2000), then(2001)), disks, (), chosen=False)
    assert says in refused.value.message
    assert refused.value.message.endswith("name the disks that are to be put back with --disk KEY")


def test_a_disk_that_no_snapshot_covers_any_more_is_named_with_the_reason() -> None:
    left_out = Uncovered(key=2001, label="Hard disk 2", capacity=MiB, why="independent (independent_persistent)")
    with pytest.raises(NotPaired, match="is independent \\(independent_persistent\\) now"):
        pairs("db", point(then(2000), then(2001)), [now(2000)], (left_out,), chosen=False)


def test_what_else_the_vm_has_does_not_matter_where_disks_were_named() -> None:
    (pair,) = pairs("db", point(then(2000)), [now(2000), now(2001), now(2002)], (), chosen=True)
    assert pair.live.key == 2000


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    with pytest.raises(NotPaired) as refused:
        pairs("db", point(then(2000), then(2001)), [now(2001, capacity=2 * MiB), now(2002)], (), chosen=False)
    assert refused.value.message.count("disk 200") == 2
    assert "Hard disk 3 (1.0 MiB) was added since" in refused.value.message
