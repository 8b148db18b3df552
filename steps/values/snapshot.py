"""A snapshot of a VM: one moment from which all its disks are read."""

from __future__ import annotations

from datetime import datetime

from runner.base.model import Model
from steps.vsphere.errors import WrongDisk
from steps.vsphere.inventory import Disk, FrozenDisk


class SnapshotTaken(Model):
    vcenter: str
    """The job's name of the vCenter."""
    vm: str
    """moref"""
    moref: str
    """Of the snapshot."""
    name: str
    """sendense-<run id>"""
    created: datetime
    """By the vCenter's clock."""
    quiesced: str
    """yes, no (not requested, or the VM is off), or failed: <reason>"""
    datacenter: str
    """Inventory path of the VM's datacenter."""
    disks: tuple[FrozenDisk, ...]
    """The disks that it froze, in key order."""
    untracked_remedy: str = ""
    """What is to be said of a disk that is not tracked, where it is not the usual advice: `cbt` says that
    already."""
    nvram: str | None
    """"[datastore] dir/name.nvram" or None."""


def frozen_disk(snapshot: SnapshotTaken, disk: Disk) -> FrozenDisk:
    """The disk as the snapshot has it. Raises WrongDisk: a key alone may by now mean another disk."""
    found = next((frozen for frozen in snapshot.disks if frozen.key == disk.key), None)
    if found is None:
        keys = ", ".join(str(frozen.key) for frozen in snapshot.disks)
        raise WrongDisk(
            f"disk {disk.key} ({disk.label}) is not in snapshot {snapshot.name}, which has {keys}"
        )
    expected, seen = (disk.backing_uuid, disk.capacity), (found.backing_uuid, found.capacity)
    if expected != seen:
        raise WrongDisk(
            f"disk {disk.key} ({disk.label}) was discovered with backing {expected[0]} and {expected[1]} "
            f"bytes, snapshot {snapshot.name} has backing {seen[0]} and {seen[1]} bytes at that key: the "
            "VM was changed in between; run again with --fresh"
        )
    return found
