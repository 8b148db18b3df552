"""A VM whose disks are put back to a restore point: which disk is which, what differs, what was done."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.vsphere.inventory import VM


class RollbackDisk(Model):
    """A disk of the restore point and the VM's disk that it is put back to."""

    key: int
    """The disk's key in the restore point"""
    stored: StoredDisk
    """The disk in the restore point"""
    present: StoredDisk | None
    """The disk in the restore point of the present state; None: that is not kept"""


class PlannedRollback(Model):
    vm: VM
    """The VM"""
    machine: MarkedVm
    """The VM and its disks; it has no mark yet"""
    point: str
    """Name of the restore point"""
    source: str
    """The point: VM/POINT"""
    present: str
    """The restore point of the present state: VM/POINT; empty: that is not kept"""
    disks: tuple[RollbackDisk, ...]
    """Those that are put back, in key order"""


class ProtectedPoints(Model):
    host: str
    """The job's name of the host that they are on"""
    paths: tuple[str, ...]
    """Absolute paths of their directories"""


class DiskDiffers(Model):
    """Blocks are of 1 MiB."""

    disk_key: int
    """The disk's key in the restore point"""
    blocks: int
    """Blocks of the disk"""
    compared: int
    """Those that were compared with the restore point's digests"""
    differing: int
    """Those that differ"""
    mode: Literal["read", "write"]
    """How the disk is opened then: one in which nothing differs is not written to"""
    kept: bool
    """Whether the restore point of the present state was seen to have what the disk has; it is not looked at
    any more once the VM has the run's mark"""
    changed: int | None = None
    """Bytes that changed block tracking names since the restore point, where it was trusted"""
    seconds: float
    """Of the comparison"""


class BegunRollback(Model):
    vm: MarkedVm
    """The VM, with the run's mark"""
    source: str
    """The point: VM/POINT"""
    disks: tuple[RollbackDisk, ...]
    """Those that differ and are written to, in key order"""


class RolledBack(Model):
    vm: str
    """The VM's name"""
    moref: str
    """``vm-16``"""
    point: str
    """Name of the restore point"""
    source: str
    """The point: VM/POINT"""
    present: str
    """Name of the restore point of the state before; empty: that was not kept"""
    disks: int
    """How many of its disks are as they were then"""
    size: int
    """Bytes of these"""
    whole: bool
    """Whether every block of these was compared in the end; else changed block tracking was trusted with what
    it does not name, beside a sample"""
    written: int
    """Bytes that were written"""
    untracked: tuple[int, ...]
    """Keys of the disks that were written to: older changeIds of these are not used any more"""
