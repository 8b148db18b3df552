"""The scratch VM: made in one folder, with a mark from its first moment, and removed with its disk.

Nothing else is ever changed or removed: see `leftovers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from runner.base.units import KiB, MiB
from steps.certify import leftovers, web
from steps.certify.outcomes import NotTried, ended, failed
from steps.vsphere import creation, marks, snapshots, specs, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.marks import Mark
from steps.vsphere.names import DatastoreFile
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.tasks import Outcome
from steps.vsphere.unset import given
from steps.vsphere.vm_spec import NewDevice, NewDisk, NewMachine, Unrecorded

CAPACITY = 16 * MiB
CONTROLLER, DISK = 1000, 2000
"""Keys that the spec has; vCenter gives its own."""


@dataclass(frozen=True)
class Place:
    """Where the scratch VM goes."""

    folder: str
    """moref"""
    datacenter: str
    """Inventory path, as dcPath of /folder."""
    pool: str
    """moref"""
    host: str | None
    """moref; None: vCenter chooses."""
    datastore: str
    """Name."""
    storage: str
    """Its kind, as Datastore.summary.type says it."""


@dataclass
class Scratch:
    """`run`: the id that is in its name and its mark."""

    client: Client
    place: Place
    run: str
    snapshots: dict[str, str] = field(default_factory=dict)
    """morefs by name"""
    change_ids: dict[str, str] = field(default_factory=dict)
    """By the names of snapshots."""

    @property
    def name(self) -> str:
        return f"{leftovers.PREFIX}{self.run}"

    @property
    def mark(self) -> str:
        """One line of JSON."""
        return Mark(run=self.run, job="certify", holder=leftovers.holder()).model_dump_json()

    def machine(self, **changes: Any) -> NewMachine:
        """One disk on a controller of its own, no network adapter."""
        bus: dict[str, JsonValue] = {"busNumber": 0, "sharedBus": "noSharing"}
        made = NewMachine(
            name=self.name,
            datacenter=self.place.datacenter,
            folder=self.place.folder,
            pool=self.place.pool,
            host=self.place.host,
            datastore=self.place.datastore,
            disks=(
                NewDisk(
                    key=DISK,
                    label="Hard disk 1",
                    capacity=CAPACITY,
                    controller=CONTROLLER,
                    unit=0,
                    datastore=self.place.datastore,
                ),
            ),
            devices=(NewDevice(key=CONTROLLER, type="ParaVirtualSCSIController", properties=bus),),
            settings={"guestId": "otherGuest64", "numCPUs": 1, "memoryMB": 128},
        )
        return made.model_copy(update=changes)

    def spec(self, suffix: str = "", **changes: Any) -> Any:
        """A ConfigSpec with mark and name."""
        marked = {marks.CERTIFY: self.mark}
        return specs.config_spec(self.machine(**changes), f"{self.name}{suffix}", marked, Unrecorded())

    def create(self, spec: Any, doing: str) -> Outcome:
        """What CreateVM_Task ends with."""

        def work(session: Session) -> Any:
            host = self.place.host and session.object(vmomi.vim.HostSystem, self.place.host)
            pool = session.object(vmomi.vim.ResourcePool, self.place.pool)
            return session.object(vmomi.vim.Folder, self.place.folder).CreateVM_Task(spec, pool, host)

        return ended(self.client, doing, work)

    def offer(self, spec: Any) -> Outcome:
        """As `create`; what is made of it is removed at once."""
        outcome = self.create(spec, "creating another scratch VM")
        if outcome.fault is None:
            self.remove(str(getattr(outcome.result, "_moId", "")))
        return outcome

    @cached_property
    def vm(self) -> str:
        """moref of the scratch VM, which is made now."""
        return creation.create(self.client, self.machine(), self.spec(), "creating the scratch VM")

    @cached_property
    def other(self) -> str:
        """Another one beside it."""
        return creation.create(self.client, self.machine(), self.spec("-b"), "creating another scratch VM")

    # what it is

    def of_vm(self, *paths: str) -> Mapping[str, Any]:
        return read(self.client, vmomi.vim.VirtualMachine, self.vm, paths, "reading the scratch VM")

    @property
    def disk(self) -> Any:
        """The device, as it is now."""
        return _disk(self.of_vm("config.hardware.device"))

    @property
    def flat_file(self) -> DatastoreFile:
        """Of the disk, as it is now."""
        return web.flat_file(str(self.disk.backing.fileName), self.place.datastore)

    @cached_property
    def key(self) -> int:
        """The disk's."""
        return int(self.disk.key)

    def frozen(self, snapshot: str) -> Any:
        """The device, as the snapshot has it."""
        kind = vmomi.vim.vm.Snapshot
        return _disk(read(self.client, kind, snapshot, ("config.hardware.device",), "reading the snapshot"))

    def snapshot(self, name: str) -> str:
        """Takes it; moref."""
        self.snapshots[name] = snapshots.create(self.client, self.vm, name, "", quiesce=False)
        return self.snapshots[name]

    def taken(self, name: str) -> str:
        """moref of the snapshot of that name. Raises NotTried."""
        if name not in self.snapshots:
            raise NotTried("the snapshot for it is not there")
        return self.snapshots[name]

    def change_id(self, snapshot: str) -> str:
        """Of the disk in the snapshot of that name, which is taken where it is not there; empty where it
        is not tracked."""
        if snapshot not in self.change_ids:
            moref = self.snapshots.get(snapshot) or self.snapshot(snapshot)
            self.change_ids[snapshot] = str(self.frozen(moref).backing.changeId or "")
        return self.change_ids[snapshot]

    def remove_snapshots(self) -> None:
        self.act("removing the snapshots", lambda vm: vm.RemoveAllSnapshots_Task())

    def grow(self) -> None:
        """The disk, by a half."""
        disk = self.disk
        of: Any = vmomi.vim.vm.device.VirtualDeviceSpec
        disk.capacityInBytes, disk.capacityInKB = CAPACITY * 3 // 2, CAPACITY * 3 // 2 // KiB
        change = of(operation=of.Operation.edit, device=disk)
        spec: Any = vmomi.vim.vm.ConfigSpec
        self.act("extending the disk", lambda vm: vm.ReconfigVM_Task(spec(deviceChange=[change])))

    def act(self, doing: str, start: Callable[[Any], Any]) -> None:
        """A task of the scratch VM, to its end. Raises VSphereError."""
        if said := failed(self.try_(doing, start)):
            raise VSphereError(f"{doing}: {said}")

    def try_(self, doing: str, start: Callable[[Any], Any]) -> Outcome:
        return ended(
            self.client, doing, lambda session: start(session.object(vmomi.vim.VirtualMachine, self.vm))
        )

    def remove(self, vm: str = "") -> None:
        """The one with that moref, or every VM of this run. Raises VSphereError."""
        for one in list(leftovers.found(self.client, self.place.folder)):
            if one.mark is not None and one.mark.run == self.run and vm in ("", one.moref):
                leftovers.remove(self.client, one)


def _disk(seen: Mapping[str, Any]) -> Any:
    devices = given(seen, "config.hardware.device", "the scratch VM")
    return next(one for one in devices if isinstance(one, vmomi.vim.vm.device.VirtualDisk))
