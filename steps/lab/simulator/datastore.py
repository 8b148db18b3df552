"""A datastore: a directory of real files, `<directory>/datastores/<name>`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator.entities import Entity, stable_uuid
from steps.lab.simulator.inventory import DatastoreSpec
from steps.lab.simulator.objects import World, provides
from steps.lab.simulator.vmodl import vim

TYPES = {"vmfs": "VMFS", "nfs": "NFS", "vsan": "vsan", "vvol": "VVOL"}


class Datastore(Entity):
    kind = vim.Datastore

    def __init__(self, world: World, parent: Entity, spec: DatastoreSpec, directory: Path) -> None:
        """`directory` is where datastores are, each under its name."""
        super().__init__(world, world.number("datastore"), spec.name, parent)
        self.spec = spec
        self.denied = frozenset(spec.denied)
        if "System.Read" in self.denied:
            self.unreadable = frozenset(self.property_names)
        if self.name in (".", ".."):
            raise UsageError(f"a datastore cannot be called '{spec.name}', since it is a directory here")
        self.directory = directory / self.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.taken: set[str] = set()
        """The VMs' directories."""
        self.browser_ref: Any = None
        """Its DatastoreBrowser, once there is one."""

    @property
    def serves_flat_files(self) -> bool:
        """On vSAN and vVol a disk is an object, and /folder has no -flat.vmdk."""
        return self.spec.kind in ("vmfs", "nfs")

    @property
    def url(self) -> str:
        return f"ds:///vmfs/volumes/{stable_uuid('datastore', self.name)}/"

    @property
    def free(self) -> int:
        if self.spec.free is not None:
            return self.spec.free
        used = sum(path.stat().st_blocks * 512 for path in self.directory.rglob("*") if path.is_file())
        return max(0, self.spec.capacity - used)

    @provides("summary")
    def summary(self) -> Any:
        return vim.Datastore.Summary(
            datastore=self.ref,
            name=self.name,
            url=self.url,
            capacity=self.spec.capacity,
            freeSpace=self.free,
            uncommitted=0,
            accessible=True,
            multipleHostAccess=True,
            type=TYPES[self.spec.kind],
            maintenanceMode="normal",
        )

    @provides("info")
    def info(self) -> Any:
        return vim.Datastore.Info(name=self.name, url=self.url, freeSpace=self.free, maxFileSize=64 << 40)

    @provides("browser")
    def browser(self) -> Any:
        return self.browser_ref

    @provides("vm")
    def machines(self) -> list[Any]:
        return [
            entity.ref
            for entity in self.datacenter.descendants()
            if entity.kind is vim.VirtualMachine and self.ref in (entity.read("datastore") or [])
        ]

    @property
    def datacenter(self) -> Entity:
        found = self.above(vim.Datacenter)
        assert found is not None
        return found


def take_directory(stores: list[Datastore], name: str, *, exact: bool = False) -> str:
    """A directory for one VM, of one name on all its datastores: `name`, or `name_1` and so on where one is
    taken; `exact`: `name` in any case."""
    chosen = name if exact else free_directory(stores, name)
    for store in stores:
        store.taken.add(chosen)
        (store.directory / chosen).mkdir(exist_ok=True)
        if exact:
            continue
        if left := next((store.directory / chosen).glob("*-delta.vmdk"), None):
            raise UsageError(f"{left} is a snapshot's file of an earlier time: start with an empty directory")
    return chosen


def free_directory(stores: list[Datastore], name: str) -> str:
    """`name`, or `name_1` and so on where one of them has it already."""
    spellings = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(1)))
    return next(one for one in spellings if not any(one in store.taken for store in stores))
