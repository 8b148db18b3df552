"""A VM that VDDK restored is backed up again: tracking saw nothing of what was written to it, and what a changeId from before
the restore would name is not believed, under whichever identity it came back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.units import MiB
from tests.e2e.returns import delete, restore_job
from tests.estate import VM, Estate, disk, estate, inventory, machine, of, read, scribble
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

pytestmark = pytest.mark.slow

SIZES = {2000: 3 * MiB, 2001: MiB}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    disks = [
        disk(2000, "3 MiB", content={"pattern": 1}),
        disk(2001, "1 MiB", 1, content={"pattern": 2}),
    ]
    with estate(tmp_path, {"prod": inventory(machine(*disks, change_tracking=True))}) as made:
        yield made


def kinds(point: Path) -> list[str]:
    return ["incremental" if one.parent else "full" for one in read(point).disks]


@pytest.mark.parametrize("identity", ["new", "keep"])
def test_its_next_backup_is_a_full_with_its_reason_and_the_one_after_it_incremental_and_right(
    site: Estate, vddk: Vddk, identity: str
) -> None:
    job = site.job()
    first = site.backup(job)
    for key, size in SIZES.items():
        scribble(site.vcenter, key, size, seed=key)
    second = site.backup(job)
    assert kinds(second) == ["incremental", "incremental"]
    delete(site)
    # Not the newest: what tracking would name since that one is not what differs.
    back = site.run(restore_job(site, vddk, first, identity=identity))
    assert back.exit_code == 0, back.error
    for key, size in SIZES.items():
        assert site.vcenter.read(VM, key, 0, size) == site.references[str(first), key].read_bytes()

    third = site.run(job)
    assert third.exit_code == 0, third.error
    (point,) = third.points()
    assert kinds(point) == ["full", "full"]
    assert (point.parent == first.parent) is (identity == "keep")
    why = {
        "new": "this is the VM's first restore point",
        "keep": f"it is another disk than the one with its key in {second.name}",
    }
    assert third.output("parent[2000]")["reason"] == why[identity]
    assert all(of(point, key).change_id for key in SIZES)

    for key, size in SIZES.items():
        scribble(site.vcenter, key, size, seed=key + 1)
    fourth = site.backup(job)
    assert kinds(fourth) == ["incremental", "incremental"]
    site.assert_all_equal()
