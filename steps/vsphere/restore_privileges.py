"""What an account needs for a VM that comes back: on its folder, pool, datastores and networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from steps.vsphere import find, vmomi
from steps.vsphere.client import Client
from steps.vsphere.names import unescape
from steps.vsphere.privileges import FOLDER, Wanted, on_vcenter
from steps.vsphere.targets import Folder, Net, Pool, Store

NEW_VM = (
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Provisioning.PutVmFiles",
)
"""On the folder that a restored VM goes to, from which it has them (API reference, CreateVM_Task and
ReconfigVM_Task). Which of Rename and Annotation its notes take is told in two ways. Delete is for a restore
that is discarded."""

WRITE_DISKS = "VirtualMachine.Provisioning.DiskRandomAccess"
"""There too, to write disks over VDDK."""

IMPORT = "VApp.Import"
"""On the resource pool and on the folder, for an import lease (pyVmomi's type metadata of ImportVApp and of
its parameter `folder`)."""

POWER_ON = "VirtualMachine.Interact.PowerOn"

SET_ATTRIBUTE = "Global.SetCustomField"


def wanted(
    client: Client,
    folder: Folder,
    pool: Pool,
    stores: Iterable[Store],
    nets: Iterable[Net],
    *,
    over_vddk: bool,
    further: Sequence[str] = (),
) -> tuple[Wanted, ...]:
    """For a VM that is made, written, read back and finished there. `further` on the folder: what only this
    VM takes. Raises VSphereError."""
    vim = vmomi.vim
    datacenter = find.datacenter(client, folder.datacenter)
    on_folder = (*NEW_VM, WRITE_DISKS if over_vddk else IMPORT, *further)
    on_pool = ("Resource.AssignVMToPool", *(() if over_vddk else (IMPORT,)))
    on_store = ("Datastore.AllocateSpace", *FOLDER)
    return (
        Wanted(vim.Folder, folder.moref, f"folder {unescape(folder.path)}", on_folder),
        Wanted(vim.ResourcePool, pool.moref, f"resource pool {pool.path}", on_pool),
        Wanted(vim.Datacenter, datacenter, f"datacenter {unescape(folder.datacenter)}", FOLDER),
        *(Wanted(vim.Datastore, one.moref, f"datastore {unescape(one.name)}", on_store) for one in stores),
        *(Wanted(_kind_of(one), one.moref, f"network {one.name}", ("Network.Assign",)) for one in nets),
        *(on_vcenter(client) if over_vddk else ()),
    )


def _kind_of(net: Net) -> type[vmomi.ManagedObject]:
    vim = vmomi.vim
    kinds: tuple[type[vmomi.ManagedObject], ...] = (
        vim.Network,
        vim.OpaqueNetwork,
        vim.dvs.DistributedVirtualPortgroup,
    )
    return next(kind for kind in kinds if kind.__name__.rpartition(".")[2] == net.kind)
