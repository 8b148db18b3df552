"""VMs are made and destroyed, and of one that was made, which disk is which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.base.units import HOUR
from steps.vsphere import datastores, hardware, specs, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.tasks import finish, running_on
from steps.vsphere.unset import given
from steps.vsphere.vm_spec import NewDisk, NewMachine

CREATE_DEADLINE = 12 * HOUR
"""An eager-zeroed disk is written whole before the task ends: 4 TiB at 100 MiB/s take that long."""

DESTROY_DEADLINE = 1 * HOUR

_CREATE_TASK = ".createVm"
"""End of TaskInfo.descriptionId: ``Folder.createVm``."""


@dataclass(frozen=True)
class MadeDisk:
    """A disk of a VM that was made."""

    key: int
    """As it was saved."""
    new_key: int
    """In the new VM."""
    backing_uuid: str
    file: str
    """``[datastore] dir/name.vmdk``"""
    capacity: int
    """Bytes."""


def create(client: Client, machine: NewMachine, spec: Any, doing: str) -> str:
    """Makes the VM in its folder and pool, and returns its moref. After Unreachable it may exist all the
    same: look for its mark. Raises PermissionMissing, VSphereError."""

    def work(session: Session) -> str:
        host = machine.host and session.object(vmomi.vim.HostSystem, machine.host)
        task = session.object(vmomi.vim.Folder, machine.folder).CreateVM_Task(
            config=spec, pool=session.object(vmomi.vim.ResourcePool, machine.pool), host=host
        )
        return str(task._moId)

    task = client.act(doing, work, repeatable=False)
    made = {"info.result": finish(client, task, doing, CREATE_DEADLINE)}
    return str(given(made, "info.result", task)._moId)


def settle(client: Client, folder: str) -> None:
    """Waits for VMs that are being made in the folder, maybe by us before a crash: their marks are not to be
    seen before. How that ends is not our matter."""
    doing = "waiting for a VM that is being made in the same folder"
    for task, name in running_on(client, vmomi.vim.Folder, folder, doing):
        if name.endswith(_CREATE_TASK):
            try:
                finish(client, task, doing, CREATE_DEADLINE)
            except VSphereError:
                continue


def destroy(client: Client, vm: str, doing: str) -> None:
    """With all disks that are attached to it. Absent is fine. Raises VSphereError for a VM that runs,
    PermissionMissing, Busy."""

    def work(session: Session) -> str:
        return str(session.object(vmomi.vim.VirtualMachine, vm).Destroy_Task()._moId)

    try:
        finish(client, client.act(doing, work), doing, DESTROY_DEADLINE)
    except Gone:
        return  # the VM, before we came; or the task, when it had ended


def made_disks(client: Client, vm: str, machine: NewMachine) -> tuple[MadeDisk, ...]:
    """Its disks by the keys that they were saved with, in their order: found by controller and unit number,
    never by their order in the VM. Raises Gone, and VSphereError where one is missing, or of another
    size."""
    doing = f"reading the disks of VM {vm}"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("config.hardware.device",), doing)
    devices = given(seen, "config.hardware.device", f"VM {vm}")
    by_key = specs.paired(machine, devices)
    stores = datastores.of_disks(client, hardware.virtual_disks(devices))
    return tuple(
        _made(vm, disk, by_key.get(disk.key), stores)
        for disk in sorted(machine.disks, key=lambda disk: disk.key)
    )


def _made(vm: str, wanted: NewDisk, found: Any, stores: datastores.Datastores) -> MadeDisk:
    if not isinstance(found, vmomi.vim.vm.device.VirtualDisk):
        raise VSphereError(
            f"VM {vm} has no disk where {wanted.label} belongs: somebody changed it in vSphere; discard the "
            "restore and start over"
        )
    frozen = hardware.frozen(found, stores, tracking=None)
    if frozen.capacity != wanted.capacity:
        raise VSphereError(
            f"{wanted.label} of VM {vm} has {frozen.capacity} bytes instead of {wanted.capacity}: discard "
            "the restore and start over"
        )
    return MadeDisk(wanted.key, frozen.key, frozen.backing_uuid, frozen.file, frozen.capacity)
