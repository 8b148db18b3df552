"""What a run will write of each disk, as far as that is known before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.base.units import GiB, MiB
from runner.step.preflight import Known
from steps.backup.create_qcow2 import BESIDE, CreateQcow2, CreateQcow2In
from steps.repository import layout
from steps.repository.manifest import LastFull
from steps.repository.parent import Parent
from steps.values.base import Base
from steps.vsphere.inventory import Disk
from tests.chain import CAPACITY, FIRST, Chain
from tests.hub import Hub, disk, vm

STEP = CreateQcow2()


def base(point: str | None, **changes: Any) -> Base:
    below = None
    if point is not None:
        below = Parent(
            point=point, image=layout.backing(point, 2000), digests="/d", digest="0" * 64, change_id="a/1", level="full",
            last_full=LastFull(at=FIRST, points=1),
        )  # fmt: skip
    kind, by = ("full", "all") if point is None else ("incremental", "cbt")
    made = Base(disk_key=2000, vcenter="prod", vm="vm-16", snapshot="", kind=kind, by=by, reason="", parent=below)  # type: ignore[arg-type]
    return made.model_copy(update=changes)


def needed(hub: Hub, of: Disk, decided: Base | None = None) -> tuple[int, int, str] | None:
    """Least and most without what is beside the content, and why."""
    found = STEP.preflight(
        hub.context(), Known(inputs=CreateQcow2In(disk=of, vm=vm(), repository="main", base=decided))
    ).space
    if found is None:
        return None
    # Other tests write to this file system meanwhile.
    assert found.free == pytest.approx(hub.host.free_bytes(hub.root), abs=GiB)
    return found.least - BESIDE, found.most - BESIDE, found.of


def allocates(hub: Hub, sizes: dict[int, int]) -> None:
    """Stands in for the vCenter, which `tests/e2e/test_space.py` asks."""
    hub.shared[("allocated", "prod", "vm-16")] = sizes


def test_of_a_thin_disk_at_least_what_is_allocated_is_written(hub: Hub) -> None:
    allocates(hub, {2000: 30 * MiB})
    found = needed(hub, disk(capacity=80 * MiB))
    assert found == (30 * MiB, 80 * MiB, "disk 2000: 30.0 MiB of 80.0 MiB allocated, thin")
    # Snapshots on it are counted too.
    assert needed(hub, disk(capacity=20 * MiB)) == (
        20 * MiB,
        20 * MiB,
        "disk 2000: 20.0 MiB of 20.0 MiB allocated, thin",
    )


def test_a_thick_disk_may_be_all_zeroes_unless_the_last_point_tells(hub: Hub) -> None:
    thick = disk(capacity=80 * MiB, thin=False)
    assert needed(hub, thick) == (
        0,
        80 * MiB,
        "disk 2000: 80.0 MiB, thick: how much of it is in use is not known before it is read",
    )
    Chain(Path(hub.root)).add({2000: None}, {2000: ((0, MiB, 1),)})
    hub.shared.clear()
    found = needed(hub, thick, base(None))
    assert found == (CAPACITY, 80 * MiB, "disk 2000: 4.0 MiB of 80.0 MiB in use at the last point")
    assert needed(hub, disk(2001, thin=False)) == (
        0, 4 * MiB, "disk 2001: 4.0 MiB, thick: how much of it is in use is not known before it is read"
    )  # fmt: skip


def test_where_the_datastore_does_not_tell_a_thin_disk_is_like_a_thick_one(hub: Hub) -> None:
    allocates(hub, {})
    found = needed(hub, disk())
    assert found is not None
    assert found[:2] == (0, 4 * MiB)


def test_an_incremental_is_as_tracking_says_and_else_reckoned_as_the_last_time(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    full = made.add({2000: None}, {2000: ((0, MiB, 1),)})
    assert needed(hub, disk(), base(full, changed=3 * MiB)) == (3 * MiB, 3 * MiB, "disk 2000: 3.0 MiB may have changed")
    found = needed(hub, disk(), base(full))
    assert found == (0, 4 * MiB, "disk 2000: how much of its 4.0 MiB changed is not known yet")
    second = made.add({2000: 0}, {2000: ((MiB, 512, 2),)}, written=1)
    hub.shared.clear()
    assert needed(hub, disk(), base(second)) == (
        0, MiB, "disk 2000: how much changed is not known yet; the last incremental took 1.0 MiB"
    )  # fmt: skip


def test_of_a_run_that_is_resumed_only_what_is_still_to_be_written_counts(hub: Hub) -> None:
    allocates(hub, {2000: 3 * MiB})
    image = hub.image()
    with Path(image.path).open("r+b") as file:
        file.seek(0, 2)
        file.write(b"x" * 2 * MiB)
    written = Path(image.path).stat().st_blocks * 512
    found = needed(hub, disk())
    assert found is not None
    assert found[:2] == (3 * MiB - written, 4 * MiB - written)
    (Path(image.directory) / layout.markers(2000)[0]).write_text("{}")
    assert needed(hub, disk()) is None, "its copy is complete"


def test_a_damaged_manifest_is_no_reason_to_end_a_plan(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, MiB, 1),)})
    (made.path(0) / layout.MANIFEST).write_text("{")
    found = needed(hub, disk(thin=False))
    assert found is not None
    assert found[:2] == (0, 4 * MiB)
