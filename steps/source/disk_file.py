"""A file in vSphere that has a disk's bytes, as the processes that serve it need to know it."""

from __future__ import annotations

from dataclasses import dataclass

from steps.values.snapshot import SnapshotTaken
from steps.vsphere.inventory import FrozenDisk


@dataclass(frozen=True)
class DiskFile:
    """Frozen by a snapshot, or of a VM that is off. Capacity in bytes."""

    key: int
    """The disk's key in its VM; of a VM that is made of a restore point, in the point."""
    file: str
    """``[datastore] dir/name.vmdk``"""
    datastore: str
    """Of the file, by name."""
    capacity: int
    vm: str
    """moref"""
    datacenter: str
    """Inventory path, as dcPath of /folder."""
    endpoint: str
    """What a copy calls it in its errors."""
    snapshot: str = ""
    """moref; empty for a disk of a VM that is off."""
    written: bool = False
    """Whether it is opened to be written."""

    @property
    def verb(self) -> str:
        """What cannot be done to it, in messages."""
        return "written" if self.written else "read"


def source_name(disk_key: int) -> str:
    """What a copy calls a disk that is backed up."""
    return f"source of disk {disk_key}"


def vm_disk_name(disk_key: int, file: str) -> str:
    """What a copy calls a disk of a VM that is off."""
    return f"disk {disk_key} in {file}"


def of_snapshot(snapshot: SnapshotTaken, disk: FrozenDisk) -> DiskFile:
    return DiskFile(
        key=disk.key,
        file=disk.file,
        datastore=disk.datastore,
        capacity=disk.capacity,
        vm=snapshot.vm,
        datacenter=snapshot.datacenter,
        endpoint=source_name(disk.key),
        snapshot=snapshot.moref,
    )
