"""A virtual machine as it is: its disks, snapshots, power, and what each change does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steps.lab.simulator import vmx
from steps.lab.simulator.devices import View
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.entities import Entity, chain, escape, stable_uuid
from steps.lab.simulator.machine_spec import MachineSpec
from steps.lab.simulator.objects import Managed, Starts, World, provides
from steps.lab.simulator.rawfile import replace_text
from steps.lab.simulator.soap import Call
from steps.lab.simulator.stored_machine import StoredMachine, Surroundings
from steps.lab.simulator.tracking import Tracker
from steps.lab.simulator.vmodl import fault, vim

POWER = vim.VirtualMachine.PowerState


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


@dataclass(frozen=True)
class Question:
    """What a VM waits for an answer to."""

    text: str
    id: str = "1"
    choices: tuple[str, ...] = ("OK",)
    message: str = ""
    """Its id, as msg.uuid.altered."""


class Machine(StoredMachine):
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
        self.unreadable = frozenset(spec.unreadable)
        self.power = POWER.poweredOn if spec.powered_on else POWER.poweredOff
        self.modified = self.world.now()
        self.snapshots: list[Snapshot] = []
        self.consolidation_needed = spec.consolidation_needed
        self.busy: Any = None
        self.question = Question(spec.question) if spec.question else None
        self.custom = {
            self.world.define(name, self.kind).key: value for name, value in spec.attributes.items()
        }
        """Values of custom attributes, by key."""
        self.asked = 0
        self.answer = ""
        self.place_files(spec, place)
        self.tracking = self._tracking_wanted = spec.change_tracking

    def _finish(self) -> None:
        self._apply_tracking()
        if self.spec.nvram:
            self.make_nvram()
        self.touch()

    def make_nvram(self) -> None:
        """As the first power-on does."""
        if not self.nvram.exists():
            self.nvram.write_bytes(f"MRVN {self.uuid}".encode().ljust(8684, b"\0"))

    def happened(self, kind: Any, **fields: Any) -> None:
        """An event of this VM, of the type `kind`."""
        event: Any = vim.event
        made = kind(**fields)
        if isinstance(made, event.VmEvent):
            made.template = self.spec.template
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
        for disk in self.stored_disks:
            disk.flatten()
        self._leave()

    def destroy(self) -> None:
        """With all its files, those of every disk that is attached to it."""
        self._leave()
        self.remove_files()

    def _leave(self) -> None:
        self.happened(vim.event.VmRemovedEvent)
        if self.parent is not None:
            self.parent.children.remove(self)
        for disk in self.stored_disks:
            disk.close()
        for snapshot in self.snapshots:
            self.world.remove(snapshot)
        self.world.remove(self)

    def locked_files(self) -> Iterator[Path]:
        """The files a running VM writes, which nobody else can open."""
        if self.is_on:
            for disk in self.stored_disks:
                yield disk.top.raw.path

    def lock_files(self, *, on: bool) -> str | None:
        """A running VM has the files that it writes to itself, and nobody else opens them. The name of one
        that somebody else has open; the others are locked all the same."""
        taken = None
        for disk in self.stored_disks:
            for layer in disk.layers:
                if not layer.raw.lock(on and layer is disk.top):
                    taken = self.layer_file(disk)(layer)
        return taken

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
    def change_version(self) -> str:
        return str(self.modified.isoformat())

    @property
    def is_asking(self) -> bool:
        return self.question is not None

    @property
    def tools_run(self) -> bool:
        return self.is_on and self.spec.tools == "running"

    def touch(self) -> None:
        """Something changed: the .vmx follows, waiters are woken."""
        self.modified = self.world.now()
        advanced = self.extra_config(tracking=self.tracking)
        files = {self._node(disk): disk.top.descriptor.name for disk in self.disks}
        self.lock_files(on=self.is_on)
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
