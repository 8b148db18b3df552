"""A virtual machine as it is: its disks, snapshots, power, and what each change does to them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator import settings, vmx
from steps.lab.simulator.datastore import Datastore, take_directory
from steps.lab.simulator.devices import View, devices_of
from steps.lab.simulator.disk import Disk, Layer
from steps.lab.simulator.entities import Entity, chain, escape, stable_uuid
from steps.lab.simulator.machine_spec import DiskSpec, MachineSpec
from steps.lab.simulator.objects import Managed, Starts, World, provides
from steps.lab.simulator.rawfile import replace_text
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tracking import Tracker
from steps.lab.simulator.vmodl import fault, vim

POWER = vim.VirtualMachine.PowerState


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


class Snapshot(Managed):
    """What a VM was when it was taken; `views` by the disks' keys."""

    kind = vim.vm.Snapshot

    def __init__(
        self,
        world: World,
        name: str,
        description: str,
        *,
        parent: Snapshot | None,
        quiesced: bool,
        tracking: bool,
        views: dict[int, View],
    ) -> None:
        super().__init__(world, world.number("snapshot"))
        self.name = name
        self.description = description
        self.parent = parent
        self.quiesced = quiesced
        self.tracking = tracking
        self.views = views
        self.created = world.now()


class Machine(Entity):
    kind = vim.VirtualMachine

    def __init__(
        self, world: World, tasks: Starts, parent: Entity, spec: MachineSpec, place: Surroundings
    ) -> None:
        self.world, self._tasks, self._place = world, tasks, place
        identity = f"{place.datacenter}/{spec.folder}/{spec.name}"
        self.instance_uuid = spec.instance_uuid or stable_uuid("instance", identity)
        self.uuid = spec.uuid or stable_uuid("bios", identity)
        self._prepare(spec, place)
        super().__init__(world, world.number("vm"), spec.name, parent)
        self._finish()

    def _prepare(self, spec: MachineSpec, place: Surroundings) -> None:
        """Before anybody can see it."""
        self.spec = spec
        self.unreadable = frozenset(spec.unreadable)
        self.power = POWER.poweredOn if spec.powered_on else POWER.poweredOff
        self.modified = self.world.now()
        self.snapshots: list[Snapshot] = []
        self.consolidation_needed = spec.consolidation_needed
        self.busy: Any = None
        self.home = place.datastores[spec.datastore]
        self.directory = take_directory(
            self.datastores(), spec.directory or safe(spec.name), exact=spec.file is not None
        )
        self.stem = spec.file or self.directory
        self.directories = {store.name: self.directory for store in self.datastores()}
        self.devices = devices_of(spec, self.network)
        self.settings = settings.of_spec(spec)
        self.tracking = self._tracking_wanted = spec.change_tracking
        self.disks: list[Disk] = []
        for number, disk in enumerate(spec.disks):
            self.disks.append(self._make_disk(disk, number))

    def _finish(self) -> None:
        self._apply_tracking()
        if self.spec.nvram and not self.path("nvram").exists():
            self.path("nvram").write_bytes(f"MRVN {self.uuid}".encode().ljust(8684, b"\0"))
        self.touch()

    def happened(self, kind: Any, **fields: Any) -> None:
        """An event of this VM, of the type `kind`."""
        event: Any = vim.event
        made = kind(template=self.spec.template, **fields)
        made.vm = event.VmEventArgument(name=self.name, vm=self.ref)
        host = self.world.find(self.host)
        if isinstance(host, Entity):
            made.host = event.HostEventArgument(name=host.name, host=host.ref)
        datacenter = self.home.datacenter
        made.datacenter = event.DatacenterEventArgument(name=datacenter.name, datacenter=datacenter.ref)
        made.fullFormattedMessage = f"{kind.__name__.rsplit('.', 1)[-1]}: {self.name}"
        self.world.happened(made, *chain(self))

    def change_instance_uuid(self, uuid: str) -> None:
        """As a vCenter does where two VMs had one."""
        before, self.instance_uuid = self.instance_uuid, uuid
        self.happened(vim.event.VmInstanceUuidChangedEvent, oldInstanceUuid=before, newInstanceUuid=uuid)
        self.touch()

    def migrate(self, host: Entity) -> None:
        """To another host; its files stay where they are."""
        before = self.world.find(self.host)
        assert isinstance(before, Entity)
        self._place = replace(self._place, host=host.ref)
        source = vim.event.HostEventArgument(name=before.name, host=before.ref)
        self.happened(vim.event.VmMigratedEvent, sourceHost=source)
        self.stun()
        self.touch()

    def rename(self, name: str) -> None:
        """In the inventory alone: its files keep the names that they have."""
        before, self.name = self.name, escape(name)
        self.spec = self.spec.model_copy(update={"name": name})
        self.happened(vim.event.VmRenamedEvent, oldName=before, newName=self.name)
        self.touch()

    def unregister(self) -> None:
        """Takes it out of the inventory; its files stay."""
        self.happened(vim.event.VmRemovedEvent)
        if self.parent is not None:
            self.parent.children.remove(self)
        for disk in self.stored_disks:
            disk.flatten()
            disk.close()
        self.world.remove(self)

    def add_disk(self, spec: DiskSpec) -> None:
        """Tracked from the next stun on."""
        self.spec = self.spec.model_copy(update={"disks": (*self.spec.disks, spec)})
        self.disks.append(self._make_disk(spec, spec.key))
        self.touch()

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
        self.touch()

    def destroy(self) -> None:
        """With all its files, those of every disk that it has; a directory that is empty then goes too."""
        if self.parent is not None:
            self.parent.children.remove(self)
        for disk in self.stored_disks:
            disk.remove()
            disk.close()
        for suffix in ("vmx", "nvram"):
            self.path(suffix).unlink(missing_ok=True)
        for name, directory in self.directories.items():
            store = self._datastore_named(name)
            if not any((store.directory / directory).iterdir()):
                (store.directory / directory).rmdir()
                store.taken.discard(directory)
        self.world.remove(self)

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
        return self._place.networks.get(name)

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

    def locked_files(self) -> Iterator[Path]:
        """The files a running VM writes, which nobody else can open."""
        if self.is_on:
            for disk in self.stored_disks:
                yield disk.top.raw.path

    @property
    def in_vapp(self) -> bool:
        return self.spec.vapp is not None

    @provides("parent")
    def parent_ref(self) -> Any:
        """None of a VM in a vApp (API reference, ManagedEntity.parent)."""
        return None if self.in_vapp else super().parent_ref()

    # state

    @property
    def is_on(self) -> bool:
        return bool(self.power == POWER.poweredOn)

    @property
    def tools_run(self) -> bool:
        return self.is_on and self.spec.tools == "running"

    def touch(self) -> None:
        """Something changed: the .vmx follows, waiters are woken."""
        self.modified = self.world.now()
        advanced = self.extra_config(tracking=self.tracking)
        files = {self._node(disk): disk.top.descriptor.name for disk in self.disks}
        text = vmx.text(self.spec, self.uuid, self.instance_uuid, advanced, files)
        replace_text(self.path("vmx"), text)
        self.world.changed()

    def extra_config(self, *, tracking: bool) -> dict[str, str]:
        """The advanced settings, with change tracking on or off."""
        tracked = [self._node(disk) for disk in self.disks if disk.tracked]
        return vmx.extra_config(self.spec, self.stem, tracked if tracking else None)

    def _node(self, disk: Disk) -> str:
        return vmx.node(self.devices[disk.spec.controller], disk)

    def want_tracking(self, wanted: bool) -> None:
        """From now on if it is off, from its next stun on if it runs."""
        self._tracking_wanted = wanted
        if not self.is_on:
            self._apply_tracking()

    def stun(self) -> None:
        """A running VM is stopped for a moment: what waited for that takes effect (API reference,
        ConfigSpec)."""
        self._apply_tracking()

    def _apply_tracking(self) -> None:
        if self.tracking != self._tracking_wanted or any(
            self.tracking and d.tracked and not d.tracker for d in self.disks
        ):
            if self.tracking and not self._tracking_wanted and not self.snapshots:
                self._clean_up_tracking()
            # A disk that was added is tracked from now on; what is known of the others stays.
            goes_on = self.tracking and self._tracking_wanted
            self.tracking = self._tracking_wanted
            for disk in self.disks:
                known = disk.tracker if goes_on else None
                disk.tracker = known or Tracker(disk.capacity) if self.tracking and disk.tracked else None
                for layer in disk.layers:
                    disk.describe(layer)

    def _clean_up_tracking(self) -> None:
        """It goes off, and its files with it."""
        for disk in self.disks:
            disk.left_out = disk.spec.tracking == "missing"

    def lose_tracking(self) -> None:
        for disk in self.disks:
            if disk.tracker is not None:
                disk.tracker.reset()

    def start(self, call: Call, work: Callable[[], Any]) -> Any:
        """A task that holds the VM. Raises TaskInProgress while another one does."""
        if self.busy is not None:
            raise fault(vim.fault.TaskInProgress, "Another task is already in progress.", task=self.busy)
        self.busy = self._tasks.start(call, self, self.name, work, self._free)
        return self.busy

    def _free(self) -> None:
        self.busy = None


def safe(name: str) -> str:
    """A directory's name: what a file system refuses is replaced, the rest stays as people wrote it."""
    cleaned = re.sub(r"[/\\%\0-\x1f]", "_", name).strip(". ")
    return cleaned or "vm"
