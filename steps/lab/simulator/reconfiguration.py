"""ReconfigVM_Task: a VM's settings, devices and disks, all or nothing (API reference); Rename_Task."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator import checks, privileges, settings
from steps.lab.simulator.device_changes import DeviceChanges
from steps.lab.simulator.disk_changes import DiskChanges
from steps.lab.simulator.entities import escape
from steps.lab.simulator.identities import free_uuid, macs_of_others
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.power import invalid_state
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl

ONLY_WHEN_OFF = ("firmware", "version", "guestId", "numCoresPerSocket", "uuid")
"""Properties of ConfigSpec."""


def of_call(machine: Machine, call: Call) -> Any:
    """Answers VirtualMachine.ReconfigVM_Task."""
    config = call.arguments.spec
    machine.world.authorization.require(*privileges.of_change(config, machine, machine.surroundings))
    if config.changeTrackingEnabled and not machine.spec.change_tracking_supported:
        raise fault(
            vmodl.fault.NotSupported, "Changed block tracking is not supported on the virtual machine."
        )
    return machine.start(call, lambda: reconfigure(machine, config))


def rename(machine: Machine, call: Call) -> Any:
    """Answers Rename_Task."""
    machine.world.authorization.require(("VirtualMachine.Config.Rename", machine))

    def work() -> None:
        if machine.parent is not None:
            checks.name(machine.parent, call.arguments.newName, machine)
        machine.rename(call.arguments.newName)

    return machine.start(call, work)


def reconfigure(machine: Machine, config: Any) -> None:
    """Within a task. Raises vmodl faults, and then changes nothing."""
    if config.changeVersion and config.changeVersion != machine.change_version:
        raise fault(vim.fault.ConcurrentAccess, "The object was changed by somebody else meanwhile.")
    if config.name is not None and machine.parent is not None:
        checks.name(machine.parent, config.name, machine)
    checks.settings(machine.world, config, machine.surroundings, creating=False)
    if machine.is_on:
        _refuse_while_on(machine, config)
    changes, planned = _devices(machine, config)
    _check_boot_order(config, changes, planned)
    _check_disks(machine, planned)
    machine.spec = settings.changed(machine.spec, config)
    machine.settings = settings.merge(machine.settings, settings.given(config))
    machine.devices = changes.devices
    _identify(machine, config)
    _change_disks(machine, planned)
    if config.changeTrackingEnabled is not None:
        machine.want_tracking(config.changeTrackingEnabled)
    if config.name is not None and escape(config.name) != machine.name:
        machine.rename(config.name)
    machine.happened(vim.event.VmReconfiguredEvent, configSpec=vim.vm.ConfigSpec())
    machine.touch()


def _refuse_while_on(machine: Machine, config: Any) -> None:
    """CPUs and memory grow where they may be added to a running VM. Raises InvalidPowerState."""
    hot = machine.settings
    cpus = config.numCPUs is not None and config.numCPUs != machine.spec.cpus
    memory = config.memoryMB is not None and config.memoryMB << 20 != machine.spec.memory
    if (
        any(getattr(config, name, None) is not None for name in ONLY_WHEN_OFF)
        or (cpus and not (hot.get("cpuHotAddEnabled") and config.numCPUs > machine.spec.cpus))
        or (memory and not (hot.get("memoryHotAddEnabled") and config.memoryMB << 20 > machine.spec.memory))
    ):
        raise invalid_state(machine)


def _devices(machine: Machine, config: Any) -> tuple[DeviceChanges, DiskChanges]:
    changes = DeviceChanges(
        place=machine.surroundings,
        home=machine.home.spec.name,
        directory=machine.directory,
        devices=machine.devices,
        disks={disk.key: disk.spec for disk in machine.disks},
        macs=macs_of_others(machine.world, machine),
    )
    return changes, changes.plan(config.deviceChange)


def _check_boot_order(config: Any, changes: DeviceChanges, planned: DiskChanges) -> None:
    """Disks and network cards are named by the keys that they have now. Raises InvalidArgument."""
    known = {*changes.devices, *planned.after}
    for one in config.bootOptions.bootOrder if config.bootOptions else ():
        if getattr(one, "deviceKey", None) not in (None, *known):
            raise invalid_argument("configSpec.bootOptions.bootOrder")


def _check_disks(machine: Machine, planned: DiskChanges) -> None:
    """Raises NoDiskSpace, and GenericVmConfigFault for what cannot be done beside a snapshot."""
    if machine.snapshots and (planned.grown or planned.removed):
        text = "A disk of a virtual machine that has snapshots cannot be extended or removed."
        raise fault(vim.fault.GenericVmConfigFault, text, reason=text)
    grown = [
        disk.spec.model_copy(update={"size": planned.grown[disk.key] - disk.capacity})
        for disk in machine.disks
        if disk.key in planned.grown
    ]
    checks.space(machine.world, [*planned.added, *grown], machine.surroundings)


def _identify(machine: Machine, config: Any) -> None:
    """An empty instance uuid lets vCenter choose; one that another VM has is not taken (API reference)."""
    if config.uuid:
        machine.uuid = config.uuid
    if config.instanceUuid is not None and config.instanceUuid != machine.instance_uuid:
        machine.change_instance_uuid(free_uuid(machine.world, config.instanceUuid))


def _change_disks(machine: Machine, planned: DiskChanges) -> None:
    for key, files in planned.removed.items():
        machine.remove_disk(key, files=files)
    for disk in machine.disks:
        disk.spec = planned.after[disk.key]
        if disk.key in planned.grown:
            keep = machine.world.faults.hits("cbt-keep")
            disk.grow(planned.grown[disk.key], keep_tracking=keep)
    for spec in planned.added:
        machine.attach(spec)
    machine.spec = machine.spec.model_copy(update={"disks": tuple(disk.spec for disk in machine.disks)})
