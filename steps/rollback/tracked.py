"""What changed block tracking says of a VM's disk since a restore point, and a sample of what it calls
unchanged."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from runner.base.errors import StateError
from runner.step.context import Context
from steps.copy.changes import Changes, spread
from steps.copy.extents import gaps, one_by_one
from steps.incremental.increment import LEAST, MOST, SHARE
from steps.repository import manifest
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.vsphere import cbt, snapshots
from steps.vsphere.client import vcenter
from steps.vsphere.errors import TrackingLost, TrackingOff


def since(ctx: Context, vm: MarkedVm, stored: StoredDisk) -> Changes:
    """What changed in the VM, which is off, since the restore point that has `stored`. A rollback by this run
    does not matter: it knows what it wrote. Raises TrackingError."""
    client, disk = vcenter(ctx, vm.vcenter), vm.disk(stored.key)
    path = posixpath.dirname(stored.digests)
    made = manifest.read(ctx.host(stored.image.host), path)
    then = None if made is None else made.disk(stored.key)
    if then is None:
        raise StateError(f"{path} on {stored.image.host} has no manifest with disk {stored.key} any more")
    if then.change_id is None:
        raise TrackingOff(f"changed block tracking of disk {stored.key} was off at {stored.point}")
    now = next((one for one in snapshots.foreseen(client, vm.moref) if one.key == disk.new_key), None)
    if now is None or now.rolled_back not in (then.rolled_back, ctx.run.id):
        raise TrackingLost(
            f"disk {stored.key} was rolled back since {stored.point}, which tracking need not have seen"
        )
    areas = cbt.areas(client, vm.moref, None, disk.new_key, disk.capacity, then.change_id)
    return Changes(areas, disk.capacity)


def sample(
    changed: Sequence[tuple[int, int]], capacity: int, percent: float | None, seed: str
) -> list[tuple[int, int]]:
    """Blocks outside `changed` (offset, length: whole blocks, in order), one by one, in order."""
    share = None if percent is None else percent / 100
    unchanged = gaps(capacity, changed)
    picked = spread(unchanged, seed=seed, share=share, one_in=SHARE, least=LEAST, most=MOST)
    return list(one_by_one(picked, capacity))
