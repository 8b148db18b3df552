"""The SearchIndex: VMs and hosts by inventory path, uuid, DNS name or the path of their .vmx file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steps.lab.simulator.compute import Host
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.objects import Managed, World, operation
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import vim


class SearchIndex(Managed):
    kind = vim.SearchIndex

    def __init__(self, world: World, root: Entity) -> None:
        super().__init__(world, "SearchIndex")
        self._root = root

    @operation("FindByInventoryPath")
    def find_by_inventory_path(self, call: Call) -> Any:
        found = self._root.below(call.arguments.inventoryPath or "")
        return found.ref if found is not None and found is not self._root else None

    @operation("FindChild")
    def find_child(self, call: Call) -> Any:
        entity = self.world.find(call.arguments.entity)
        found = entity.below(call.arguments.name) if isinstance(entity, Entity) else None
        return found.ref if found is not None else None

    @operation("FindByUuid")
    def find_by_uuid(self, call: Call) -> Any:
        return next(iter(self.find_all_by_uuid(call)), None)

    @operation("FindAllByUuid")
    def find_all_by_uuid(self, call: Call) -> list[Any]:
        asked = call.arguments
        if not asked.vmSearch:
            return []
        wanted = asked.uuid.lower()
        return [
            machine.ref
            for machine in self._below(asked.datacenter)
            if isinstance(machine, Machine)
            and wanted == (machine.instance_uuid if asked.instanceUuid else machine.uuid).lower()
        ]

    @operation("FindByDatastorePath")
    def find_by_datastore_path(self, call: Call) -> Any:
        """By the .vmx file's path, ``[ds1] db/db.vmx``."""
        for machine in self._below(call.arguments.datacenter):
            if isinstance(machine, Machine) and machine.file("vmx") == call.arguments.path:
                return machine.ref
        return None

    @operation("FindByDnsName")
    def find_by_dns_name(self, call: Call) -> Any:
        return next(iter(self.find_all_by_dns_name(call)), None)

    @operation("FindAllByDnsName")
    def find_all_by_dns_name(self, call: Call) -> list[Any]:
        """A VM's name is what its guest says, so only while VMware Tools run (API reference,
        GuestInfo.hostName)."""
        wanted = call.arguments.dnsName.lower()
        return [
            entity.ref
            for entity in self._below(call.arguments.datacenter)
            if (_guest_name(entity) if call.arguments.vmSearch else _host_name(entity)) == wanted
        ]

    def _below(self, datacenter: Any) -> Iterator[Entity]:
        """Everything, or what is in one datacenter. Raises ManagedObjectNotFound."""
        start = self._root if datacenter is None else self.world.find(datacenter)
        if isinstance(start, Entity):
            yield from start.descendants()


def _guest_name(entity: Entity) -> str | None:
    name = entity.read("guest").hostName if isinstance(entity, Machine) else None
    return name.lower() if name else None


def _host_name(entity: Entity) -> str | None:
    return entity.name.lower() if isinstance(entity, Host) else None
