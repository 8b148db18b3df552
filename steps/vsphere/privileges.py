"""What the account may do, asked before it is tried: all that is missing is named at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from steps.vsphere import datastores, find, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, PermissionMissing
from steps.vsphere.hardware import virtual_disks
from steps.vsphere.names import unescape
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.unset import given

BACKUP = (
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
)
"""On the VM, for a backup (Virtual Disk Development Kit, "Credentials and Privileges for VMDK Access")."""

FOLDER = ("Datastore.Browse", "Datastore.FileManagement")
"""On datacenter and datastore, to read files over HTTPS (SDK Programming Guide, "Privilege Requirements for
HTTP Access")."""

VDDK = ("Global.DisableMethods", "Global.EnableMethods")
"""On the vCenter, for VDDK (same page as `BACKUP`): without them it says that the host is not licensed."""


ROLLBACK = (
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Provisioning.DiskRandomAccess",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Provisioning.PutVmFiles",
)
"""On the VM whose disks are put back: to mark it (API reference, ReconfigVM_Task), and to read and write its
disks over VDDK."""

EXPORT = ("VApp.Export",)
"""On a VM, for an export lease (pyVmomi's type metadata of ExportVm)."""


@dataclass(frozen=True)
class Wanted:
    """`name` is what people call the object: ``VM pgtest1``."""

    kind: type[vmomi.ManagedObject]
    moref: str
    name: str
    privileges: tuple[str, ...]


def on_vm(moref: str, name: str) -> tuple[Wanted, ...]:
    return (Wanted(vmomi.vim.VirtualMachine, moref, f"VM {name}", BACKUP),)


def on_vcenter(client: Client) -> tuple[Wanted, ...]:
    return (Wanted(vmomi.vim.Folder, find.root(client), "the vCenter's root folder", VDDK),)


def to_roll_back(client: Client, moref: str, name: str) -> tuple[Wanted, ...]:
    """A VM's disks over VDDK."""
    return (Wanted(vmomi.vim.VirtualMachine, moref, f"VM {name}", ROLLBACK), *on_vcenter(client))


def to_export(moref: str, name: str) -> tuple[Wanted, ...]:
    return (Wanted(vmomi.vim.VirtualMachine, moref, f"VM {name}", EXPORT),)


def to_export_from(folder: str) -> tuple[Wanted, ...]:
    """Of a VM that will be in that folder (moref)."""
    return (Wanted(vmomi.vim.Folder, folder, "the VM's folder", EXPORT),)


def on_files(client: Client, vm: str, datacenter: str, datastore: str) -> tuple[Wanted, ...]:
    """`datacenter` is an inventory path, `datastore` the name of one that the VM uses. The VM itself says
    which object that is: who lacks all rights on a datastore cannot read its name. Raises PermissionMissing
    for a datacenter that cannot be seen."""
    doing = f"looking for datastore {datastore} of VM {vm}"
    stores = datastores_of(client, vm)
    if datastore not in stores:
        raise Gone(f"{doing} failed: its disks are on {', '.join(sorted(stores)) or 'none'}")
    place = find.datacenter(client, datacenter)
    if not place:
        named = ", ".join(FOLDER)
        raise PermissionMissing(
            f"the account {client.vcenter.username} cannot see datacenter {unescape(datacenter)}: give its "
            f"role there {named}",
            named,
            f"datacenter {unescape(datacenter)}",
        )
    return (
        Wanted(vmomi.vim.Datastore, stores[datastore], f"datastore {datastore}", FOLDER),
        Wanted(vmomi.vim.Datacenter, place, f"datacenter {unescape(datacenter)}", FOLDER),
    )


def datastores_of(client: Client, vm: str) -> dict[str, str]:
    """Moref by name, as the files of the VM's disks have it, those that its snapshots freeze too."""
    return client.recall(("datastores of", vm), lambda: _datastores_of(client, vm))


def _datastores_of(client: Client, vm: str) -> dict[str, str]:
    doing = f"reading the disks of VM {vm}"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("config.hardware.device",), doing)
    disks = virtual_disks(seen.get("config.hardware.device", ()))
    stores = datastores.of_disks(client, disks)
    return {
        datastores.file_in(backing, stores, str(backing.fileName)).datastore: moref
        for disk in disks
        for backing in datastores.chain(disk)
        if (moref := datastores.store_of(backing)) and getattr(backing, "fileName", "")
    }


def require(client: Client, wanted: Iterable[Wanted]) -> str:
    """What the account has, in words. Raises PermissionMissing that names all it lacks."""
    objects = tuple(wanted)
    granted = _granted(client, objects)
    lacks = [
        (one, missing)
        for one in objects
        if (missing := [name for name in one.privileges if (one.moref, name) not in granted])
    ]
    if lacks:
        listed = "; ".join(f"{', '.join(missing)} on {one.name}" for one, missing in lacks)
        raise PermissionMissing(
            f"the account {client.vcenter.username} lacks {listed}: add them to its role there",
            ", ".join(privilege for _, missing in lacks for privilege in missing),
            ", ".join(one.name for one, _ in lacks),
        )
    count = sum(len(one.privileges) for one in objects)
    return (
        f"{client.vcenter.username} has the {count} privileges it takes on "
        f"{', '.join(one.name for one in objects)}"
    )


def granted_key(moref: str, privileges: Sequence[str]) -> object:
    """Under which a look may have been told which of them the account has there: a frozenset."""
    return ("granted on", moref, *privileges)


def _granted(client: Client, objects: Sequence[Wanted]) -> set[tuple[str, str]]:
    """Moref and privilege. Objects on which the same is wanted are asked for at once."""
    groups: dict[tuple[str, ...], list[Wanted]] = {}
    found: set[tuple[str, str]] = set()
    for one in objects:
        known = (client.answers or {}).get((client.name, granted_key(one.moref, one.privileges)))
        if known is None:
            groups.setdefault(one.privileges, []).append(one)
        else:
            found |= {(one.moref, privilege) for privilege in known}
    for group in groups.values():
        for moref, granted in granted_on(client, group).items():
            found |= {(moref, privilege) for privilege in granted}
    return found


def granted_on(client: Client, group: Sequence[Wanted]) -> dict[str, frozenset[str]]:
    """Of objects on which the same is wanted, by moref; asked at once."""
    named = ", ".join(one.name for one in group[:3])
    doing = f"asking for the account's privileges on {named}{' …' if len(group) > 3 else ''}"
    privileges = list(group[0].privileges)

    def ask(session: Session) -> Any:
        return session.service("authorizationManager").HasPrivilegeOnEntities(
            entity=[session.object(one.kind, one.moref) for one in group],
            sessionId=session.key,
            privId=privileges,
        )

    asked = ("privileges", *((one.kind.__name__, one.moref) for one in group), *privileges)
    return {
        str(given(answer, "entity", f"an answer to {doing}")._moId): frozenset(
            str(privilege.privId) for privilege in answer.privAvailability or () if privilege.isGranted
        )
        for answer in client.ask(asked, doing, ask) or ()
    }
