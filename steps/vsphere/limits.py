"""What one VM's backup takes of a vCenter: disks that are read, snapshots, room on datastores.

Resources are named by the vCenter's uuid and by references of its hosts and datastores, which are the same in
every job file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from runner.base.model import JobModel
from runner.step.items import UNCOUNTED, Claim, Item

Count = Annotated[int, Field(ge=1)]


class VCenterLimits(JobModel):
    """How much runs take at once; what is over waits."""

    disks: Count | None = None
    """Disks that are read through this vCenter."""
    disks_per_host: Count | None = None
    """Disks of the VMs of one ESXi host."""
    snapshots_per_datastore: Count | None = None
    """VMs on one datastore that have the snapshot of a run that works on them; those that failed runs retain
    are `held-snapshots`."""
    held_snapshots: Count | None = None
    """Snapshots that failed runs hold: with so many, no further VM is begun. Those that run may add
    theirs."""


def claims(limits: VCenterLimits, min_free: float | None, name: str, item: Item) -> Iterator[Claim]:
    """Of one VM in the vCenter that the job calls `name`."""
    for vcenter in item.stands_on.get("vcenter", ()):
        if limits.disks is not None:
            what = f"disks read in vCenter {name} at once"
            yield Claim.share(f"vcenter {vcenter.key} disks", item.disks, limits.disks, what)
        if limits.held_snapshots is not None:
            what = f"fewer than {limits.held_snapshots} snapshots held after failures in vCenter {name}"
            yield Claim(held(vcenter.key), 0, UNCOUNTED, what)
    for host in item.stands_on.get("host", ()):
        if limits.disks_per_host is not None:
            what = f"disks read on ESXi host {host.name} at once"
            yield Claim.share(f"esxi {host.key} disks", item.disks, limits.disks_per_host, what)
    for store in item.stands_on.get("datastore", ()):
        if limits.snapshots_per_datastore is not None:
            what = f"snapshots on datastore {store.name} at once"
            yield Claim(f"datastore {store.key} snapshots", 1, limits.snapshots_per_datastore, what)
        if min_free is not None:
            what = f"{min_free:g} % free on datastore {store.name}"
            yield Claim(free_on(store.key), 0, UNCOUNTED, what)


def held(vcenter: str) -> str:
    """The resource of snapshots that failed runs hold."""
    return f"vcenter {vcenter} held snapshots"


def free_on(store: str) -> str:
    """The resource of free space on a datastore."""
    return f"datastore {store} free space"
