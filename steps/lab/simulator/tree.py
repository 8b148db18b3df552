"""The inventory tree: folders, datacenters, hosts, networks, and everything of an inventory file put into
it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.inventory import ESXI_DATACENTER, DatacenterSpec, Inventory
from steps.lab.simulator.machine import Surroundings
from steps.lab.simulator.objects import World, provides
from steps.lab.simulator.tasks import Tasks
from steps.lab.simulator.virtual_machine import VirtualMachine
from steps.lab.simulator.vmodl import vim

ESXI_HOST = "ha-host"
"""The moref of itself on every ESXi host."""

FOLDER_TYPES = {
    "vm": ["Folder", "VirtualMachine", "VirtualApp"],
    "host": ["Folder", "ComputeResource"],
    "datastore": ["Folder", "Datastore", "StoragePod"],
    "network": ["Folder", "Network"],
}


class Folder(Entity):
    kind = vim.Folder

    def __init__(self, world: World, moid: str, name: str, parent: Entity | None, types: list[str]) -> None:
        super().__init__(world, moid, name, parent)
        self._types = types

    @provides("childEntity")
    def child_entities(self) -> list[Any]:
        return [child.ref for child in self.children]

    @provides("childType")
    def child_types(self) -> list[str]:
        return self._types

    def folder(self, path: str) -> Folder:
        """The folder at `path` below this one, made where it is not there."""
        found = self
        for name in filter(None, path.split("/")):
            present = found.below(name)
            found = (
                present
                if isinstance(present, Folder)
                else Folder(self.world, self.world.number("group-v"), name, found, self._types)
            )
        return found


class Datacenter(Entity):
    kind = vim.Datacenter

    def __init__(self, world: World, parent: Entity, name: str) -> None:
        super().__init__(world, ESXI_DATACENTER if world.esxi else world.number("datacenter"), name, parent)
        self.folders = {
            kind: Folder(world, world.number(f"group-{kind[0]}"), kind, self, types)
            for kind, types in FOLDER_TYPES.items()
        }

    @provides("vmFolder")
    def vm_folder(self) -> Any:
        return self.folders["vm"].ref

    @provides("hostFolder")
    def host_folder(self) -> Any:
        return self.folders["host"].ref

    @provides("datastoreFolder")
    def datastore_folder(self) -> Any:
        return self.folders["datastore"].ref

    @provides("networkFolder")
    def network_folder(self) -> Any:
        return self.folders["network"].ref

    @provides("datastore")
    def datastores(self) -> list[Any]:
        return [child.ref for child in self.folders["datastore"].children]

    @provides("network")
    def networks(self) -> list[Any]:
        return [child.ref for child in self.folders["network"].children]


class Network(Entity):
    kind = vim.Network

    @provides("summary")
    def summary(self) -> Any:
        return vim.Network.Summary(network=self.ref, name=self.name, accessible=True, ipPoolName="")


class Cluster(Entity):
    """One host and its resource pool: enough for a VM to stand on. That an ESXi host has no cluster is
    nothing to a backup."""

    kind = vim.ClusterComputeResource

    def __init__(self, world: World, parent: Entity, name: str, host_uuid: str) -> None:
        super().__init__(world, world.number("domain-c"), name, parent)
        host = ESXI_HOST if world.esxi else world.number("host")
        self.host = Host(world, host, f"esxi.{name.lower()}.example", self, host_uuid)
        self.pool = ResourcePool(world, world.number("resgroup"), "Resources", self)

    @provides("host")
    def hosts(self) -> list[Any]:
        return [self.host.ref]

    @provides("resourcePool")
    def resource_pool(self) -> Any:
        return self.pool.ref


class Host(Entity):
    kind = vim.HostSystem

    def __init__(self, world: World, moid: str, name: str, parent: Entity, uuid: str) -> None:
        super().__init__(world, moid, name, parent)
        self._uuid = uuid

    @provides("hardware")
    def hardware(self) -> Any:
        if not self._uuid:
            return None  # optional, its uuid is not
        system = vim.host.SystemInfo(vendor="VMware, Inc.", model="simulated", uuid=self._uuid)
        return vim.host.HardwareInfo(systemInfo=system)

    @provides("runtime")
    def runtime(self) -> Any:
        return vim.host.RuntimeInfo(
            connectionState="connected", powerState="poweredOn", inMaintenanceMode=False
        )


class ResourcePool(Entity):
    kind = vim.ResourcePool


def build(world: World, tasks: Tasks, inventory: Inventory, directory: Path) -> Folder:
    """The root folder of everything; disk files are made below `directory`."""
    root = Folder(world, world.root_folder, "Datacenters", None, ["Folder", "Datacenter"])
    for spec in inventory.datacenters:
        _datacenter(world, tasks, root, spec, directory / "datastores", inventory.host_uuid)
    return root


def _datacenter(
    world: World, tasks: Tasks, root: Folder, spec: DatacenterSpec, directory: Path, host_uuid: str
) -> None:
    datacenter = Datacenter(world, root.folder(spec.folder), spec.name)
    cluster = Cluster(world, datacenter.folders["host"], "cluster1", host_uuid)
    stores = {
        store.name: Datastore(world, datacenter.folders["datastore"], store, directory)
        for store in spec.datastores
    }
    networks = {
        name: Network(world, world.number("network"), name, datacenter.folders["network"]).ref
        for name in spec.networks
    }
    place = Surroundings(datacenter.inventory_path, stores, networks, cluster.host.ref, cluster.pool.ref)
    for machine in spec.vms:
        VirtualMachine(world, tasks, datacenter.folders["vm"].folder(machine.folder), machine, place)
