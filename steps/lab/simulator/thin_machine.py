"""A VM of an estate that is made by number: a few hundred bytes until somebody touches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from steps.lab.simulator.devices import devices_of
from steps.lab.simulator.disk import Disk, Layer
from steps.lab.simulator.entities import Entity, stable_uuid
from steps.lab.simulator.estate_spec import EstateSpec
from steps.lab.simulator.machine import POWER
from steps.lab.simulator.machine_spec import DiskSpec, MachineSpec
from steps.lab.simulator.objects import NOT_KNOWN, World, provides
from steps.lab.simulator.stored_machine import Surroundings, safe
from steps.lab.simulator.tasks import Tasks
from steps.lab.simulator.tracking import Tracker
from steps.lab.simulator.virtual_machine import VirtualMachine
from steps.lab.simulator.vmodl import typed, vim

ALLOCATED = 4
"""One byte of so many of a disk is allocated, as long as nothing is stored."""


class ThinMachine(VirtualMachine):
    """What is asked of thousands is answered from a number; its configuration from a drawing of it that is
    thrown away; whatever else is done with it makes it whole, with its files."""

    def __init__(
        self,
        world: World,
        tasks: Tasks,
        parent: Entity,
        spec: MachineSpec,
        place: Surroundings,
        made: tuple[EstateSpec, int],
    ) -> None:
        """`made`: of which estate, as which number."""
        self._is_whole = False
        self._made = made
        self._tasks, self._place = tasks, place
        self.power = POWER.poweredOn if spec.powered_on else POWER.poweredOff
        self.template = spec.template
        self.store = place.datastores[spec.datastore].ref
        identity = f"{place.datacenter}/{spec.folder}/{spec.name}"
        self.instance_uuid = stable_uuid("instance", identity)
        self.uuid = stable_uuid("bios", identity)
        Entity.__init__(self, world, world.number("vm"), spec.name, parent)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet."""
        if name.startswith("__") or self.__dict__.get("_is_whole", True):
            raise AttributeError(name)
        self._is_whole = True
        self._prepare(self._spec(), self._place)
        self._finish()
        return getattr(self, name)

    def _spec(self) -> MachineSpec:
        estate, index = self._made
        return estate.machine(index)

    @property
    def stands(self) -> bool:
        return self._is_whole

    @property
    def stored_disks(self) -> list[Disk]:
        return self.disks if self._is_whole else []

    def read(self, name: str) -> Any:
        if self._is_whole or name in ("name", "parent", "parentVApp"):
            return super().read(name)
        return _Drawing(self, self._spec(), self._place).read(name)

    def known(self, path: str) -> Any:
        """The properties that a client reads of all VMs, without a drawing."""
        if self._is_whole or self.world.unset:
            return NOT_KNOWN
        if path.startswith(_SETTING) and not path.endswith(_OWN_SETTINGS):
            return None
        if path not in _CHEAP:
            return NOT_KNOWN
        value = _CHEAP[path](self)
        return typed(value, _type_of(path))

    @property
    def in_vapp(self) -> bool:
        return False

    @property
    def pool(self) -> Any:
        return None if self.template else self._place.pool


_SETTING = 'config.extraConfig["'
_OWN_SETTINGS = ('"nvram"]', 'svga.present"]', 'ctkEnabled"]')
"""All advanced settings that one has before it is touched."""

_CHEAP: Mapping[str, Callable[[ThinMachine], Any]] = {
    "name": lambda vm: vm.name,
    "parent": lambda vm: vm.parent_ref(),
    "parentVApp": lambda vm: None,
    "resourcePool": lambda vm: vm.pool,
    "datastore": lambda vm: [vm.store],
    "customValue": lambda vm: None,
    "summary.config.template": lambda vm: vm.template,
    "summary.config.instanceUuid": lambda vm: vm.instance_uuid,
    "summary.config.uuid": lambda vm: vm.uuid,
    "runtime.host": lambda vm: vm.host,
    "runtime.powerState": lambda vm: vm.power,
    "runtime.connectionState": lambda vm: "connected",
    "runtime.faultToleranceState": lambda vm: "notConfigured",
    "config.flags": lambda vm: vim.vm.FlagInfo(snapshotDisabled=False, snapshotLocked=False),
    "config.ftInfo": lambda vm: None,
}


def _type_of(path: str) -> Any:
    if path not in _TYPES:
        kind = vim.VirtualMachine
        for name in path.split("."):
            kind = kind._GetPropertyInfo(name).type
        _TYPES[path] = kind
    return _TYPES[path]


_TYPES: dict[str, Any] = {}


class _Drawing(VirtualMachine):
    """As the VM would be, without files; it is in no inventory."""

    def __init__(self, of: ThinMachine, spec: MachineSpec, place: Surroundings) -> None:
        self.world, self.moid, self.name, self.parent = of.world, of.moid, of.name, of.parent
        self.children = []
        self.spec, self._place = spec, place
        self.instance_uuid, self.uuid, self.power = of.instance_uuid, of.uuid, of.power
        self.modified = of.world.started
        self.snapshots = []
        self.consolidation_needed, self.busy, self.question = spec.consolidation_needed, None, None
        self.home = place.datastores[spec.datastore]
        self.stem = self.directory = safe(spec.name)
        self.settings: dict[str, Any] = {}
        self.custom = {}
        self.tracking = spec.change_tracking
        self.disks = [
            _DrawnDisk(self, disk, f"{self.stem}_{number}" if number else self.stem)
            for number, disk in enumerate(spec.disks)
        ]

    @cached_property
    def devices(self) -> dict[int, Any]:  # type: ignore[override]
        return devices_of(self.spec, self.network)

    @provides("layoutEx")
    def layout(self) -> Any:
        files = vim.vm.FileLayoutEx
        extents = [
            files.FileInfo(
                key=number,
                name=self.layer_file(disk)(disk.top),
                type="diskExtent",
                size=disk.capacity // ALLOCATED,
            )
            for number, disk in enumerate(self.disks)
        ]
        disks = [
            files.DiskLayout(key=disk.key, chain=[files.DiskUnit(fileKey=[number])])
            for number, disk in enumerate(self.disks)
        ]
        return files(file=extents, disk=disks, timestamp=self.modified)


class _DrawnDisk(Disk):
    def __init__(self, of: _Drawing, spec: DiskSpec, name: str) -> None:
        self.spec, self.key, self.capacity = spec, spec.key, spec.size
        self.uuid = of.disk_uuid(spec)
        self.left_out = False
        self.tracker = Tracker(spec.size) if of.tracking else None
        self.layers = [_DrawnLayer(of.home.directory / of.stem / f"{name}.vmdk", self.uuid)]


class _DrawnLayer(Layer):
    def __init__(self, descriptor: Path, uuid: str) -> None:
        self.descriptor, self.written, self.content_id = descriptor, None, uuid.replace("-", "").lower()
