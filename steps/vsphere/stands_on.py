"""One VM as an item with all that limits are about: what `runner.step.items.Census` says of many."""

from __future__ import annotations

from collections.abc import Iterable

from runner.step.items import Footing, Item
from steps.vsphere import hardware, vmomi
from steps.vsphere.client import Client
from steps.vsphere.inventory import VM
from steps.vsphere.names import unescape
from steps.vsphere.properties import read, read_many


def item_of(client: Client, vm: VM) -> Item:
    """Raises Gone, PermissionMissing."""
    doing = f"reading what VM {vm.name} stands on"
    wanted = ("runtime.host", "datastore", "config.hardware.device")
    seen = read(client, vmomi.vim.VirtualMachine, vm.moref, wanted, doing)
    host = seen.get("runtime.host")
    hosts = [] if host is None else [str(host._moId)]
    stores = [str(store._moId) for store in seen.get("datastore", ())]

    def footings(kind: type[vmomi.ManagedObject], morefs: Iterable[str]) -> tuple[Footing, ...]:
        named = read_many(client, kind, morefs, ("name",), doing)
        return tuple(
            Footing(f"{vm.vcenter_uuid}/{moref}", unescape(str(named.get(moref, {}).get("name", moref))))
            for moref in morefs
        )

    stands_on = {
        "vcenter": (Footing(vm.vcenter_uuid, vm.vcenter),),
        "host": footings(vmomi.vim.HostSystem, hosts),
        "datastore": footings(vmomi.vim.Datastore, stores),
    }
    disks = len(list(hardware.virtual_disks(seen.get("config.hardware.device", ()))))
    return Item(vm.instance_uuid, vm.name, vm.inventory_path, stands_on=stands_on, disks=disks)
