"""A VM's files: its directories on datastores, its disks, and who may be there besides."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator import settings
from steps.lab.simulator.datastore import Datastore, take_directory
from steps.lab.simulator.devices import devices_of, network_backing
from steps.lab.simulator.disk import Disk, Layer
from steps.lab.simulator.entities import Entity, stable_uuid
from steps.lab.simulator.machine_spec import DiskSpec, MachineSpec
from steps.lab.simulator.vmodl import vim


@dataclass(frozen=True)
class Surroundings:
    """What a VM lives in, besides its folder."""

    datacenter: str
    """Its inventory path, from which uuids are made."""
    datastores: dict[str, Datastore]
    networks: dict[str, Any]
    host: Any
    pool: Any
    portgroups: Mapping[str, str] = field(default_factory=dict)
    """Of distributed switches: the switch's uuid by the key."""
    key_provider: bool = False
    """Whether there is one, so that VMs can have a virtual TPM."""


class StoredMachine(Entity):
    """What a `Machine` has on datastores, and what it is made of."""

    instance_uuid: str

    def place_files(self, spec: MachineSpec, place: Surroundings) -> None:
        """Takes its directories; its disks are made, or found there."""
        self.spec, self._place = spec, place
        self.home = place.datastores[spec.datastore]
        exact = spec.file is not None
        self.directory = take_directory(self.datastores(), spec.directory or safe(spec.name), exact=exact)
        self.stem = spec.file or self.directory
        self.directories = {store.name: self.directory for store in self.datastores()}
        self.devices = devices_of(spec, self.network)
        self.settings = settings.of_spec(spec)
        self.disks: list[Disk] = []
        for number, disk in enumerate(spec.disks):
            self.disks.append(self._make_disk(disk, number))

    def add_disk(self, spec: DiskSpec) -> None:
        """One of a key that an inventory file could have."""
        self.spec = self.spec.model_copy(update={"disks": (*self.spec.disks, spec)})
        self.disks.append(self._make_disk(spec, spec.key))

    def attach(self, spec: DiskSpec) -> Disk:
        """A disk that somebody asked for: one without a name gets the next free one."""
        store = self._datastore_named(spec.datastore)
        directory = spec.directory or self._directory_on(store)
        (store.directory / directory).mkdir(exist_ok=True)
        names = itertools.chain([self.stem], (f"{self.stem}_{number}" for number in itertools.count(1)))
        free = (one for one in names if not (store.directory / directory / f"{one}.vmdk").exists())
        named = spec.model_copy(update={"directory": directory, "file": spec.file or next(free)})
        self.spec = self.spec.model_copy(update={"disks": (*self.spec.disks, named)})
        self.disks.append(self._make_disk(named, 0))
        return self.disks[-1]

    def _directory_on(self, store: Datastore) -> str:
        if store.name not in self.directories:
            self.directories[store.name] = take_directory([store], self.directory)
        return self.directories[store.name]

    def remove_disk(self, key: int, *, files: bool = False) -> None:
        """Its files stay, as when a disk is only detached, unless they go too."""
        self.spec = self.spec.model_copy(
            update={"disks": tuple(one for one in self.spec.disks if one.key != key)}
        )
        for disk in [disk for disk in self.disks if disk.key == key]:
            self.disks.remove(disk)
            if files:
                disk.remove()
            disk.close()

    def remove_files(self) -> None:
        """All of it, those of every disk that it has; a directory that is empty then goes too."""
        for disk in self.stored_disks:
            disk.remove()
        for file in (self.path("vmx"), self.nvram):
            file.unlink(missing_ok=True)
        for name, directory in self.directories.items():
            store = self._datastore_named(name)
            if not any((store.directory / directory).iterdir()):
                (store.directory / directory).rmdir()
                store.taken.discard(directory)

    def _make_disk(self, spec: DiskSpec, number: int) -> Disk:
        directory = self._datastore_named(spec.datastore).directory / (spec.directory or self.directory)
        name = spec.file or (f"{self.stem}_{number}" if number else self.stem)
        if other := next((one for one in self.disks if one.descriptor == directory / f"{name}.vmdk"), None):
            raise UsageError(
                f"disks {other.key} and {spec.key} of {self.spec.name} have one file, {name}.vmdk"
            )
        return Disk(spec, directory, name, self.disk_uuid(spec))

    def disk_uuid(self, spec: DiskSpec) -> str:
        uuid = spec.uuid or stable_uuid("disk", f"{self.instance_uuid}/{spec.key}")
        return f"6000C29{uuid[7:]}"

    # where things are

    @property
    def surroundings(self) -> Surroundings:
        return self._place

    def _datastore_named(self, name: str | None) -> Datastore:
        return self._place.datastores[name or self.spec.datastore]

    def datastore_of(self, disk: Disk) -> Datastore:
        return self._datastore_named(disk.spec.datastore)

    def datastores(self) -> list[Datastore]:
        """The VM's own and those of its disks."""
        names = [self.spec.datastore, *(disk.datastore or self.spec.datastore for disk in self.spec.disks)]
        return [self._datastore_named(name) for name in dict.fromkeys(names)]

    @property
    def host(self) -> Any:
        return self._place.host

    @property
    def pool(self) -> Any:
        """Resource pool; None of a template."""
        return None if self.spec.template else self._place.pool

    @property
    def cards(self) -> list[Any]:
        """Its network cards."""
        return [one for one in self.devices.values() if isinstance(one, vim.vm.device.VirtualEthernetCard)]

    def network(self, name: str) -> Any:
        """The backing of a network card that is connected to it."""
        return network_backing(self._place.networks.get(name), name, self._place.portgroups)

    def place(self, file: str) -> str:
        return f"[{self.home.name}] {self.directory}/{file}"

    def file(self, suffix: str) -> str:
        return self.place(f"{self.stem}.{suffix}")

    def path(self, suffix: str) -> Path:
        return self.home.directory / self.directory / f"{self.stem}.{suffix}"

    def layer_file(self, disk: Disk) -> Callable[[Layer], str]:
        store = self.datastore_of(disk)
        return lambda layer: f"[{store.name}] {layer.descriptor.parent.name}/{layer.descriptor.name}"

    @property
    def stands(self) -> bool:
        """Whether it is more than a number (`ThinMachine`)."""
        return True

    @property
    def stored_disks(self) -> list[Disk]:
        """Those that have files."""
        return self.disks

    def disk(self, key: int) -> Disk | None:
        return next((disk for disk in self.disks if disk.key == key), None)

    @property
    def nvram(self) -> Path:
        """Named by the advanced setting nvram where there is one (govmomi)."""
        name = self.spec.extra_config.get("nvram", f"{self.stem}.nvram")
        return self.home.directory / self.directory / Path(name).name


def safe(name: str) -> str:
    """A directory's name: what a file system refuses is replaced, the rest stays as people wrote it."""
    cleaned = re.sub(r"[/\\%\0-\x1f]", "_", name).strip(". ")
    return cleaned or "vm"
