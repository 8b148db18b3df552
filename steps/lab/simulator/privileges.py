"""Which privileges a VirtualMachineConfigSpec takes, by what it holds (API reference, Folder.CreateVM_Task
and VirtualMachine.ReconfigVM_Task)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steps.lab.simulator.objects import Managed
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import vim, vmodl

device: Any = vim.vm.device
CONFIG = "VirtualMachine.Config."
Needed = tuple[str, Managed]

OF_PROPERTIES = {
    "name": "Rename",
    # Notes take the former by the API reference, the latter by what vendors ask for; here both.
    "annotation": "Rename Annotation",
    "extraConfig": "AdvancedConfig",
    "changeTrackingEnabled": "ChangeTracking",
    "numCPUs": "CPUCount",
    "numCoresPerSocket": "CPUCount",
    "memoryMB": "Memory",
    "cpuAllocation": "Resource",
    "memoryAllocation": "Resource",
    "cpuAffinity": "Resource",
    "swapPlacement": "SwapPlacement",
    "managedBy": "ManagedBy",
    "version": "UpgradeVirtualHardware",
}
"""All others that a spec may set take `Settings`, but these, which are of no consequence:"""
FREE = {"dynamicType", "dynamicProperty", "changeVersion", "createDate", "locationId", "deviceChange"}


def of_creation(config: Any, folder: Managed, place: Surroundings) -> list[Needed]:
    """Besides Inventory.Create on the folder and AssignVMToPool on the pool."""
    found = list(_of_devices(config, folder, place))
    if config.extraConfig:
        found.append((f"{CONFIG}AdvancedConfig", folder))
    if config.changeTrackingEnabled is not None:
        found.append((f"{CONFIG}ChangeTracking", folder))
    store = (config.files.vmPathName or "")[1:].partition("]")[0] if config.files else ""
    if store in place.datastores:
        found.append(("Datastore.AllocateSpace", place.datastores[store]))
    return list(dict.fromkeys(found))


def of_change(config: Any, machine: Managed, place: Surroundings) -> list[Needed]:
    found = list(_of_devices(config, machine, place))
    for one in config._GetPropertyList():
        value = getattr(config, one.name)
        if value is None or (isinstance(value, list) and not value) or one.name in FREE:
            continue
        for privilege in OF_PROPERTIES.get(one.name, "Settings").split():
            found.append((CONFIG + privilege, machine))
    return list(dict.fromkeys(found))


def _of_devices(config: Any, on: Managed, place: Surroundings) -> Iterator[Needed]:
    for change in config.deviceChange:
        one, operation = change.device, change.operation or "edit"
        if isinstance(one, device.VirtualDisk):
            yield from _of_disk(change, operation, on, place)
        elif operation != "edit":
            yield f"{CONFIG}AddRemoveDevice", on
        else:
            yield f"{CONFIG}EditDevice", on
        if isinstance(one, device.VirtualEthernetCard) and operation != "remove":
            port = getattr(one.backing, "port", None)
            network = place.networks.get(getattr(one.backing, "deviceName", None) or "")
            if port is not None and port.portgroupKey in place.portgroups:
                network = vim.dvs.DistributedVirtualPortgroup(port.portgroupKey)
            if network is not None:
                try:
                    yield "Network.Assign", on.world.find(network)
                except vmodl.fault.ManagedObjectNotFound:
                    continue


def _of_disk(change: Any, operation: str, on: Managed, place: Surroundings) -> Iterator[Needed]:
    backing = change.device.backing
    if operation == "remove":
        yield f"{CONFIG}RemoveDisk", on
    elif operation == "edit":
        size = change.device.capacityInBytes or change.device.capacityInKB
        yield f"{CONFIG}{'DiskExtend' if size else 'EditDevice'}", on
    else:
        yield f"{CONFIG}{'AddNewDisk' if change.fileOperation else 'AddExistingDisk'}", on
        store = (getattr(backing, "fileName", None) or "")[1:].partition("]")[0]
        if store in place.datastores:
            yield "Datastore.AllocateSpace", place.datastores[store]
