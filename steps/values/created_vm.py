"""A VM that a restore has made and not finished: it carries the run's mark and a name that says so."""

from __future__ import annotations

from runner.base.model import Model


class CreatedDisk(Model):
    key: int
    """The disk's key in the restore point"""
    new_key: int
    """Its key in the new VM"""
    backing_uuid: str
    """In the new VM"""
    file: str
    """"[datastore] dir/name.vmdk\""""
    capacity: int
    """Bytes"""


class CreatedVm(Model):
    vcenter: str
    """The job's name of the vCenter"""
    moref: str
    """``vm-16``"""
    instance_uuid: str
    """Chosen by vCenter, or kept: with the mark, the VM's identity"""
    name: str
    """The name that it has until it is finished"""
    datacenter: str
    """Inventory path, as dcPath of /folder"""
    mark: str
    """Value of the mark in its advanced settings"""
    vmx_file: str
    """"[datastore] dir/name.vmx\""""
    disks: tuple[CreatedDisk, ...]
    """In key order"""

    def disk(self, key: int) -> CreatedDisk:
        """By its key in the restore point."""
        return next(disk for disk in self.disks if disk.key == key)
