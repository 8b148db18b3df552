"""The inventory tree: folders, datacenters, networks, and everything of an inventory file put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator import creation, networks, power
from steps.lab.simulator.compute import Cluster, Compute, ComputeResource
from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.datastore_browser import DatastoreBrowser
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.estate_spec import EstateSpec
from steps.lab.simulator.inventory import (
    ESXI_DATACENTER,
    ClusterSpec,
    DatacenterSpec,
    DatastoreSpec,
    Inventory,
)
from steps.lab.simulator.machine_spec import MachineSpec
from steps.lab.simulator.objects import World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.tagging import Tagging
from steps.lab.simulator.tasks import Task, Tasks
from steps.lab.simulator.thin_machine import ThinMachine
from steps.lab.simulator.virtual_machine import VirtualMachine
from steps.lab.simulator.vmodl import vim

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

    @provides("recentTask")
    def recent_tasks(self) -> list[Any]:
        """Those that run: a VM that is being made is one of its folder's."""
        tasks: list[Task] = list(self.world.all(Task))
        return [one.ref for one in tasks if one.finished_at is None and one.info.entity == self.ref]

    @provides("childType")
    def child_types(self) -> list[str]:
        return self._types

    @operation("CreateVM_Task")
    def create_machine(self, call: Call) -> Any:
        return creation.of_call(self, call)

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

    @operation("PowerOnMultiVM_Task")
    def power_on_several(self, call: Call) -> Any:
        return power.several(self.world, self, call)

    @provides("networkFolder")
    def network_folder(self) -> Any:
        return self.folders["network"].ref

    @provides("datastore")
    def datastores(self) -> list[Any]:
        below = self.folders["datastore"].descendants()
        return [one.ref for one in below if isinstance(one, Datastore)]

    @provides("network")
    def network_refs(self) -> list[Any]:
        return list(networks.known(self.folders["network"])[0].values())


class StoragePod(Folder):
    """A datastore cluster."""

    kind = vim.StoragePod


def build(world: World, tasks: Tasks, inventory: Inventory, directory: Path, tagging: Tagging) -> Folder:
    """The root folder of everything; disk files are made below `directory`."""
    root = Folder(world, world.root_folder, "Datacenters", None, ["Folder", "Datacenter"])
    of_machines = (name for one in inventory.datacenters for vm in one.vms for name in vm.attributes)
    for name in (*inventory.attributes, *of_machines):
        world.define(name, vim.VirtualMachine)
    for spec in inventory.datacenters:
        made = _Made(world, tasks, root, spec, directory / "datastores", inventory.host_uuid, tagging)
        for machine in spec.vms:
            made.add(machine)
    if inventory.estate is not None:
        spec = _datacenter_of(inventory.estate)
        made = _Made(world, tasks, root, spec, directory / "datastores", inventory.host_uuid, tagging)
        for index in range(inventory.estate.vms):
            made.add_thin(inventory.estate, index)
    for path, tags in inventory.tagged.items():
        entity = root.below(path)
        if entity is None:
            raise UsageError(f"`tagged` names {path}, which is not there")
        for tag in tags:
            tagging.attach(tag, entity.ref)
    return root


def _datacenter_of(estate: EstateSpec) -> DatacenterSpec:
    return DatacenterSpec(
        name=estate.name,
        clusters=tuple(
            ClusterSpec(name=f"cluster{number + 1:02}", hosts=estate.hosts_of(number))
            for number in range(estate.clusters)
        ),
        datastores=tuple(DatastoreSpec(name=estate.store(number)) for number in range(estate.datastores)),
    )


class _Made:
    """One datacenter, to which VMs are added."""

    def __init__(
        self,
        world: World,
        tasks: Tasks,
        root: Folder,
        spec: DatacenterSpec,
        directory: Path,
        host_uuid: str,
        tagging: Tagging,
    ) -> None:
        self._world, self._tasks, self._tagging = world, tasks, tagging
        datacenter = Datacenter(world, root.folder(spec.folder), spec.name)
        self._path = datacenter.inventory_path
        self._folder = datacenter.folders["vm"]
        self._compute = Compute(
            {
                one.name: (ComputeResource if one.standalone else Cluster)(
                    world, datacenter.folders["host"], one, host_uuid
                )
                for one in spec.clusters
            }
        )
        for vapp in spec.vapps:
            self._compute.add_vapp(world, vapp, self._folder.folder(vapp.folder))
        self._places: dict[tuple[str | None, ...], Surroundings] = {}
        pods: dict[str, Folder] = {}
        stores = datacenter.folders["datastore"]
        for name in dict.fromkeys(store.cluster for store in spec.datastores if store.cluster):
            pods[name] = StoragePod(world, world.number("group-p"), name, stores, ["Datastore"])
        self._stores = {
            store.name: Datastore(world, pods.get(store.cluster or "", stores), store, directory)
            for store in spec.datastores
        }
        for made in self._stores.values():
            DatastoreBrowser(world, tasks, made)
        networks.build(world, datacenter.folders["network"], spec.networks, spec.distributed)
        self._networks, self._portgroups = networks.known(datacenter.folders["network"])

    def add(self, spec: MachineSpec) -> None:
        parent = self._parent(spec)
        self._tag(spec, VirtualMachine(self._world, self._tasks, parent, spec, self._place(spec)))

    def add_thin(self, estate: EstateSpec, index: int) -> None:
        spec = estate.machine(index)
        place = self._place(spec)
        made = ThinMachine(self._world, self._tasks, self._parent(spec), spec, place, (estate, index))
        self._tag(spec, made)

    def _tag(self, spec: MachineSpec, made: VirtualMachine) -> None:
        for tag in spec.tags:
            self._tagging.attach(tag, made.ref)

    def _parent(self, spec: MachineSpec) -> Entity:
        if spec.vapp is not None:
            return self._compute.vapp(spec.vapp)
        return self._folder.folder(spec.folder)

    def _place(self, spec: MachineSpec) -> Surroundings:
        """A few for thousands of VMs."""
        key = (spec.cluster, spec.host, spec.pool, spec.vapp)
        if key not in self._places:
            found = self._compute.cluster(spec.cluster, spec.host)
            host = found.hosts[spec.host or next(iter(found.hosts))].ref
            below = found.pool(spec.pool) if spec.vapp is None else self._compute.vapp(spec.vapp)
            self._places[key] = Surroundings(
                self._path,
                self._stores,
                self._networks,
                host,
                below.ref,
                portgroups=self._portgroups,
                key_provider=self._world.key_provider,
            )
        return self._places[key]
