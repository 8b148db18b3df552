"""Where the scratch VM goes: the folder that was named, in its datacenter a datastore and what runs VMs."""

from __future__ import annotations

from dataclasses import dataclass

from runner.base.errors import UsageError
from runner.base.units import GiB
from steps.certify.scratch import Place
from steps.new_vm import placement
from steps.new_vm.options import NewVmOptions
from steps.new_vm.placement import Placement
from steps.vsphere import privileges, restore_privileges, targets_tree
from steps.vsphere.client import Client
from steps.vsphere.names import unescape
from steps.vsphere.targets import Store

ROOM = 1 * GiB
"""Free on a datastore that is chosen: the disk takes some MiB, a VM that runs as much as its memory."""

FURTHER = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.State.RevertToSnapshot",
)
"""On the folder, beside what a restore takes."""

EVERYWHERE = ("vm", "Resources")
"""Parts of paths that every vCenter has."""


@dataclass(frozen=True)
class Chosen:
    place: Place
    folder: str
    """Its inventory path, and the datastore's name, for the person who is asked."""
    datastore: str
    names: tuple[str, ...]
    """Of all that it is about: no report may hold them."""


def choose(client: Client, folder: str, datastore: str) -> Chosen:
    """Raises UsageError where it cannot be there, PermissionMissing with all privileges that are missing."""
    there = targets_tree.read(client)
    problems: list[str] = []
    where = placement.choose(there, NewVmOptions(folder=folder, datastore=datastore), "", "", problems)
    store = _store(where, datastore, problems) if where is not None else None
    if where is None or store is None:
        raise UsageError(f"no scratch VM can be made: {'; '.join(problems)}")
    wanted = restore_privileges.wanted(
        client, where.folder, where.pool, (store,), (), over_vddk=False, further=FURTHER
    )
    privileges.require(client, wanted)
    place = Place(
        folder=where.folder.moref,
        datacenter=where.folder.datacenter,
        pool=where.pool.moref,
        host=where.host.moref if where.host is not None else None,
        datastore=store.name,
        storage=store.kind,
    )
    return Chosen(place, unescape(where.folder.path), unescape(store.name), _names(client, where, store))


def _store(where: Placement, wanted: str, problems: list[str]) -> Store | None:
    """The one that was named, or the one with the most room, one with flat files if there is one."""
    if wanted:
        return placement.store(where, wanted, "the scratch VM", problems)
    fits = [one for one in where.stores if not one.why_not and (one.free or 0) >= ROOM]
    if not fits:
        problems.append(f"no datastore of {where.where} has 1 GiB free: name one with --datastore")
        return None
    return max(fits, key=lambda one: (one.kind in ("VMFS", "NFS", "NFS41"), one.free or 0))


def _names(client: Client, where: Placement, store: Store) -> tuple[str, ...]:
    hosts = (host.name for host in where.cluster.hosts)
    paths = (where.folder.path, where.folder.datacenter, where.pool.path, where.cluster.path)
    parts = (part for path in paths for part in path.split("/"))
    own = (client.name, client.vcenter.server, client.vcenter.username, store.name, where.cluster.name)
    every = (*own, *hosts, *paths, *parts)
    told = (spelling for name in every for spelling in (name, unescape(name)))
    return tuple(dict.fromkeys(name for name in told if name not in ("", *EVERYWHERE)))
