"""A VM out of a VirtualMachineConfigSpec: what CreateVM_Task and ImportVApp do.

Faults by the API reference (Folder.CreateVM_Task) and by what clients met (bareos-fd-vmware); a fault leaves
nothing behind. What was given comes out of its config again, but for what the server chooses itself: keys,
labels, file names, uuids and MACs that are taken.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steps.lab.simulator import checks, privileges, settings
from steps.lab.simulator.backings import datastore_path
from steps.lab.simulator.datastore import Datastore, free_directory
from steps.lab.simulator.device_changes import DeviceChanges
from steps.lab.simulator.devices import default_devices
from steps.lab.simulator.disk_changes import DiskChanges
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.identities import free_uuid, macs_of_others
from steps.lab.simulator.machine_spec import MachineSpec
from steps.lab.simulator.objects import World
from steps.lab.simulator.placement import surroundings
from steps.lab.simulator.soap import Call
from steps.lab.simulator.stored_machine import Surroundings, safe
from steps.lab.simulator.virtual_machine import VirtualMachine
from steps.lab.simulator.vmodl import fault, vim


@dataclass(frozen=True)
class Created:
    machine: VirtualMachine
    keys: dict[int, int]
    """The server's key of each device of the spec, by the key that it had there."""
    disks: Sequence[int]
    """The server's keys of the disks, in the order of the spec."""


def create(folder: Entity, config: Any, place: Surroundings) -> Created:
    """The VM, off, with empty disks, in the inventory. Raises vmodl faults. The caller holds the world's
    lock and has looked at the privileges (`privileges.of_creation`)."""
    world = folder.world
    checks.name(folder, config.name)
    checks.settings(world, config, place, creating=True)
    home, directory, stem = _home(config, place)
    changes = DeviceChanges(
        place=place,
        home=home.spec.name,
        directory=directory,
        devices=default_devices(),
        disks={},
        macs=macs_of_others(world, None),
    )
    planned = changes.plan(config.deviceChange)
    checks.space(world, planned.added, place)
    spec = settings.changed(_spec(world, config, home, directory, stem), config)
    machine = VirtualMachine(world, world.tasks, folder, spec, place)
    machine.devices, machine.settings = changes.devices, settings.given(config)
    _make_disks(machine, planned)
    machine.happened(vim.event.VmCreatedEvent)
    return Created(machine, changes.keys, [one.key for one in planned.added])


def of_call(folder: Entity, call: Call) -> Any:
    """Answers Folder.CreateVM_Task; the task's result is the VM."""
    world, asked = folder.world, call.arguments
    host = world.find(asked.host) if asked.host is not None else None
    place = surroundings(folder, world.find(asked.pool), host)
    world.authorization.require(*privileges.of_creation(asked.config, folder, place))
    return world.tasks.start(
        call, folder, folder.name, lambda: create(folder, asked.config, place).machine.ref, lambda: None
    )


def _home(config: Any, place: Surroundings) -> tuple[Datastore, str, str]:
    """Datastore, directory and how file names begin. ``[ds1]`` alone lets the server pick them (bareos);
    ``[ds1] dir/x.vmx`` says them."""
    text = config.files.vmPathName if config.files else None
    store, path = datastore_path(text or "", place)
    if not path:
        directory = free_directory([store], safe(config.name))
        return store, directory, directory
    directory, _, file = path.rpartition("/")
    if not file.endswith(".vmx") or not directory:
        raise fault(vim.fault.InvalidDatastorePath, f"Invalid datastore path '{text}'.", datastorePath=text)
    if (store.directory / path).exists():
        raise fault(
            vim.fault.FileAlreadyExists,
            f"Cannot complete the operation because the file {text} already exists.",
            file=text,
        )
    return store, directory, file.removesuffix(".vmx")


def _spec(world: World, config: Any, home: Datastore, directory: str, stem: str) -> MachineSpec:
    """Before what `config` says of it. An instance uuid that another VM has is not taken (API reference)."""
    return MachineSpec(
        name=config.name,
        datastore=home.spec.name,
        directory=directory,
        file=stem,
        instance_uuid=free_uuid(world, config.instanceUuid),
        uuid=config.uuid or str(uuid.uuid4()),
        powered_on=False,
        tools="not-installed",
        guest="otherGuest",
        hardware_version=world.newest_hardware,
        change_tracking=bool(config.changeTrackingEnabled),
        nvram=False,
        controllers=(),
    )


def _make_disks(machine: VirtualMachine, planned: DiskChanges) -> None:
    for spec in planned.added:
        machine.attach(spec)
    machine.want_tracking(machine.spec.change_tracking)
    machine.touch()
