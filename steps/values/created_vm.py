"""A VM that carries a run's mark: a restore has made it and not finished, or a rollback is changing it."""

from __future__ import annotations

from runner.base.model import Model
from steps.values.planned_vm import PlannedVm
from steps.vsphere import marks
from steps.vsphere.names import DatastoreFile


class CreatedDisk(Model):
    """A disk of such a VM that is written to, or read back."""

    key: int
    """The disk's key in the restore point"""
    new_key: int
    """Its key in the VM"""
    backing_uuid: str
    """In the VM"""
    file: str
    """"[datastore] dir/name.vmdk\""""
    capacity: int
    """Bytes"""


class MarkedVm(Model):
    """A VM that is off, and stays so while its disks are written."""

    vcenter: str
    """The job's name of the vCenter"""
    moref: str
    """``vm-16``; empty in a plan, of a VM that is not there yet"""
    instance_uuid: str
    """With the mark, the VM's identity"""
    name: str
    """The name that it has meanwhile"""
    datacenter: str
    """Inventory path, as dcPath of /folder"""
    folder: str = ""
    """moref of the folder that it will be in, of a VM that is not there yet"""
    mark_key: str = marks.RESTORE
    """Which of its advanced settings is the mark"""
    mark: str
    """Value of the mark: without it nothing is written to the VM"""
    vmx_file: str
    """"[datastore] dir/name.vmx\""""
    disks: tuple[CreatedDisk, ...]
    """In key order"""

    def disk(self, key: int) -> CreatedDisk:
        """By its key in the restore point."""
        return next(disk for disk in self.disks if disk.key == key)


class CreatedVm(MarkedVm):
    """Made by a restore: it has a name that says so until it is finished, and its disks are new."""


def foreseen(plan: PlannedVm, name: str) -> CreatedVm:
    """What will be made, as far as a plan can tell: where its disks will be, not yet as which files. `name`:
    what it is called until it is finished."""

    def file_on(datastore: str, file: str = "") -> str:
        return str(DatastoreFile(datastore, f"{name}/{file}"))

    return CreatedVm(
        vcenter=plan.vcenter,
        moref="",
        instance_uuid="",
        name=name,
        datacenter=plan.machine.datacenter,
        folder=plan.machine.folder,
        mark="",
        vmx_file=file_on(plan.machine.datastore, f"{name}.vmx"),
        disks=tuple(
            CreatedDisk(
                key=disk.key,
                new_key=disk.key,
                backing_uuid="",
                file=file_on(disk.new.datastore),
                capacity=disk.new.capacity,
            )
            for disk in plan.disks
        ),
    )
