"""A disk of a VM that is compared with a restore point: whether it is the one that is open, and whether what
was compared is still what it has."""

from __future__ import annotations

from collections.abc import Iterable

from runner.base.errors import SendenseError
from runner.step.context import Context
from steps.source import vm_disk
from steps.values.created_vm import MarkedVm
from steps.values.vm_disk import VmDiskChecked, VmDiskServing
from steps.vsphere.client import Client


class WrongViewError(SendenseError):
    def __init__(self, vm: MarkedVm, key: int, view: VmDiskServing) -> None:
        super().__init__(
            f"disk {key} of VM {vm.name} is to be read, but {view.file} of VM {view.vm} is open as disk "
            f"{view.disk_key}{'' if view.read_only else ' to be written to'}; nothing was compared"
        )


def require_view(vm: MarkedVm, key: int, view: VmDiskServing) -> None:
    """`key` is the disk's in the restore point. Raises WrongViewError unless it is what is open, to be
    read."""
    if (view.vm, view.disk_key, view.file, view.read_only) != (vm.moref, key, vm.disk(key).file, True):
        raise WrongViewError(vm, key, view)


def still_there(ctx: Context, vm: MarkedVm, key: int, recorded: VmDiskChecked | None) -> VmDiskChecked | None:
    """What was recorded of the comparison, if the VM still has that disk."""
    return recorded if recorded is not None and vm_disk.is_there(ctx, vm, key) else None


def written_since(client: Client, vm: MarkedVm, compared: Iterable[VmDiskChecked]) -> tuple[int, ...]:
    """Keys in the restore point of the disks that were written to after they were compared, as far as vSphere
    tells. Raises NotReady for a VM that is on, and a disk that was moved, replaced or got a snapshot."""
    found = []
    for one in compared:
        seen, _ = vm_disk.look(client, vm, vm.disk(one.disk_key))
        if one.content_id and seen.content_id != one.content_id:
            found.append(one.disk_key)
    return tuple(found)
