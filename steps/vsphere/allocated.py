"""What the disks of a VM take on their datastores."""

from __future__ import annotations

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.properties import read

EXTENT = "diskExtent"

LAYOUT = "layoutEx"


def allocated(client: Client, vm: str) -> dict[int, int]:
    """Bytes by disk key, all files of the disk's chain together; a disk is absent where the datastore does
    not tell. Of a thin disk that is what was ever written (API reference: the effective space usage of such a
    disk is in VirtualMachineFileLayoutEx), of a thick one its capacity."""
    return client.recall(("allocated of", vm), lambda: _allocated(client, vm))


def _allocated(client: Client, vm: str) -> dict[int, int]:
    layout = read(
        client, vmomi.vim.VirtualMachine, vm, (LAYOUT,), f"reading what the disks of VM {vm} take"
    ).get(LAYOUT)
    if layout is None:
        return {}
    sizes = {
        file.key: int(file.size)
        for file in layout.file or ()
        if file.type == EXTENT and file.size is not None
    }
    found: dict[int, int] = {}
    for disk in layout.disk or ():
        files = [sizes[key] for unit in disk.chain or () for key in unit.fileKey or () if key in sizes]
        if files:
            found[int(disk.key)] = sum(files)
    return found
