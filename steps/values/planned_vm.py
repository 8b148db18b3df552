"""The VM that a restore is to make, decided before anything is made."""

from __future__ import annotations

from runner.base.model import Model
from steps.values.stored_point import StoredDisk
from steps.vsphere.vm_spec import Change, NewDisk, NewMachine


class PlannedDisk(Model):
    key: int
    """As it was saved: nodes are named by it"""
    stored: StoredDisk
    """The disk in the restore point"""
    new: NewDisk
    """What it is to be"""


class PlannedVm(Model):
    vcenter: str
    """The job's name of the vCenter"""
    vcenter_uuid: str
    """Which vCenter that is"""
    point: str
    """Name of the restore point"""
    source: str
    """The point: VM/POINT"""
    machine: NewMachine
    """The VM"""
    disks: tuple[PlannedDisk, ...]
    """Those that are restored, in key order"""
    config: str
    """Absolute path of the saved configuration on the repository host: what is not recorded is read there"""
    nvram: str | None = None
    """Absolute path of the saved NVRAM file on the repository host"""
    repository_host: str
    """The job's name of that host"""
    changes: tuple[Change, ...] = ()
    """What becomes of everything that the saved VM had"""
