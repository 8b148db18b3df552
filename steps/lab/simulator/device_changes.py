"""VirtualDeviceConfigSpecs: which devices a VM will have, with keys and unit numbers as vCenter gives them.

Planning changes nothing, so that a reconfiguration is all or nothing (API reference, ReconfigVM_Task); a
fault names the device by its place in the list. New disks are `disk_changes`, what hangs where is `slots`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from steps.lab.simulator import backings, mac, slots
from steps.lab.simulator.devices import IDE_PRIMARY, IDE_SECONDARY, LABEL_OF
from steps.lab.simulator.disk_changes import DiskChanges
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import fault, vim

device: Any = vim.vm.device
OWN = (
    device.VirtualPCIController,
    device.VirtualSIOController,
    device.VirtualPS2Controller,
    device.VirtualKeyboard,
    device.VirtualPointingDevice,
    device.VirtualVMCIDevice,
)
"""What every VM has once, and nobody adds. So are IDE controllers by the keys that they have; with new ones,
clients do add them (govc vm.create)."""


def invalid(index: int, kind: Any = vim.fault.InvalidDeviceSpec, **fields: Any) -> Exception:
    return fault(kind, f"Invalid configuration for device '{index}'.", deviceIndex=index, **fields)


@dataclass
class DeviceChanges:
    """`devices`: all but the disks, by key, before and, when planned, after."""

    place: Surroundings
    home: str
    """Datastore of the VM."""
    directory: str
    """The VM's on it."""
    devices: dict[int, Any]
    disks: Mapping[int, DiskSpec]
    """Before."""
    macs: set[str]
    """Of other VMs."""
    running: bool = False
    keys: dict[int, int] = field(default_factory=dict)
    """Of what is added: the server's by the client's."""

    def plan(self, changes: Iterable[Any]) -> DiskChanges:
        """Raises vmodl faults."""
        self.devices = dict(self.devices)
        planned = DiskChanges(self.place, self.home, self.directory, dict(self.disks))
        for index, change in sorted(enumerate(changes), key=lambda one: not _is_new_controller(one[1])):
            one, operation = copy.copy(change.device), change.operation or "edit"
            if isinstance(one, device.VirtualDisk):
                if operation == "add":
                    self._place(index, one, planned)
                    planned.add(index, one, change.fileOperation)
                else:
                    planned.change(index, one, operation, change.fileOperation)
            elif operation == "add":
                self._add(index, one, planned)
            elif one.key not in self.devices:
                raise invalid(index)
            elif operation == "remove":
                self._remove(index, one.key, planned)
            else:
                self._edit(index, one)
        return planned

    def _add(self, index: int, one: Any, planned: DiskChanges) -> None:
        if isinstance(one, OWN) or (isinstance(one, device.VirtualIDEController) and one.key >= 0):
            raise invalid(index)
        if isinstance(one, device.VirtualVideoCard):  # there is one at most
            self.devices = {
                key: each
                for key, each in self.devices.items()
                if not isinstance(each, device.VirtualVideoCard)
            }
        if isinstance(one, device.VirtualController):
            self._set_bus(index, one)
        self._check_backing(index, one)
        self._place(index, one, planned)
        if isinstance(one, device.VirtualEthernetCard):
            mac.settle(one, self.macs | {card.macAddress.lower() for card in self._cards()})
        self.devices[one.key] = one

    def _set_bus(self, index: int, one: Any) -> None:
        """An IDE controller takes the place of the one that every VM has."""
        kind = slots.family(one)
        beside = [each for each in self.devices.values() if isinstance(each, kind)]
        if kind is device.VirtualIDEController and one.busNumber in (None, 0, 1):
            bus = one.busNumber or 0
            self.devices.pop(IDE_SECONDARY if bus else IDE_PRIMARY, None)
            beside = []
        if one.busNumber is None or one.busNumber < 0:
            one.busNumber = slots.free_bus(one, self.devices)
        if one.busNumber in {each.busNumber for each in beside}:
            raise invalid(index, property=f"deviceChange[{index}].device.busNumber")
        if slots.is_storage(one) and len(beside) >= slots.MOST_CONTROLLERS:
            raise invalid(index)
        one.device = []
        if isinstance(one, device.VirtualSCSIController):
            one.scsiCtlrUnitNumber, one.hotAddRemove = 7, True
            one.sharedBus = one.sharedBus or "noSharing"

    def _check_backing(self, index: int, one: Any) -> None:
        if isinstance(one, device.VirtualEthernetCard):
            one.backing = backings.network(one.backing, self.place, index)
        elif isinstance(one, device.VirtualCdrom):
            backings.check_image(one.backing, self.place, index)
        elif isinstance(one, device.VirtualTPM) and not self.place.key_provider:
            raise fault(
                vim.fault.GenericVmConfigFault,
                "A virtual TPM needs a key provider, and there is none.",
                reason="no key provider",
            )

    def _place(self, index: int, one: Any, planned: DiskChanges) -> None:
        """Controller, unit number, key and label."""
        given = one.key
        stored = isinstance(one, device.VirtualDisk | device.VirtualCdrom)
        ide = isinstance(one, device.VirtualIDEController)
        taken = {**self.devices, **planned.after}
        if not ide:
            one.controllerKey = self._controller(index, one)
            controller = self.devices[one.controllerKey]
            if stored and not slots.is_storage(controller):
                raise invalid(index)
            units = {
                each.unitNumber for each in self.devices.values() if each.controllerKey == controller.key
            }
            units |= {each.unit for each in planned.after.values() if each.controller == controller.key}
            if one.unitNumber is None or one.unitNumber < 0 or (not stored and one.unitNumber in units):
                one.unitNumber = slots.free_unit(controller, units, one)
            if one.unitNumber is None or (stored and not _fits(controller, one.unitNumber, units)):
                raise invalid(index, property=f"deviceChange[{index}].device.unitNumber")
        if stored:
            one.key = slots.key_of_stored(controller, one.unitNumber, taken)
        else:
            one.key = slots.key_of_other(one, taken)
        self.keys[given] = one.key
        one.deviceInfo = self._about(one)

    def _controller(self, index: int, one: Any) -> int:
        """As the server knows it. A negative key is one of this list; those of the controllers that every VM
        has stay as they are (bareos)."""
        given = one.controllerKey
        if given is None and not isinstance(one, device.VirtualDisk):
            return slots.default_controller(one)
        key = self.keys.get(given, given)
        if key not in self.devices or not isinstance(self.devices[key], device.VirtualController):
            raise fault(
                vim.fault.InvalidController,
                f"The device '{index}' is referring to a nonexisting controller '{given}'.",
                deviceIndex=index,
                controllerKey=given or 0,
            )
        return int(key)

    def _about(self, one: Any) -> Any:
        kind, label = next((each for each in LABEL_OF if isinstance(one, each[0])), (type(one), None))
        if label is None:
            label = type(one).__name__.rpartition(".")[2].removeprefix("Virtual")
        bus = getattr(one, "busNumber", None)
        beside = sum(isinstance(each, kind) for each in self.devices.values())
        name = f"{label} {bus if bus is not None else beside + 1}"
        backing = getattr(one, "backing", None)
        return vim.Description(label=name, summary=getattr(backing, "deviceName", None) or name)

    def _cards(self) -> list[Any]:
        cards = (one for one in self.devices.values() if isinstance(one, device.VirtualEthernetCard))
        return [one for one in cards if one.macAddress]

    def _remove(self, index: int, key: int, planned: DiskChanges) -> None:
        """A controller goes only when nothing hangs on it."""
        beside = [one.controllerKey for one in self.devices.values()]
        if isinstance(self.devices[key], OWN) or key in (
            *beside,
            *(one.controller for one in planned.after.values()),
        ):
            raise invalid(index)
        del self.devices[key]

    def _edit(self, index: int, one: Any) -> None:
        """What is unset stays as it was."""
        old = self.devices[one.key]
        if type(old) is not type(one):
            raise invalid(index)
        made = copy.copy(old)
        for listed in one._GetPropertyList():
            value = getattr(one, listed.name)
            if value is not None and not (isinstance(value, list) and not value):
                setattr(made, listed.name, value)
        made.deviceInfo, made.controllerKey = old.deviceInfo, old.controllerKey
        if one.backing is not None:
            self._check_backing(index, made)
        del self.devices[one.key]
        if isinstance(made, device.VirtualEthernetCard) and made.macAddress != old.macAddress:
            made.addressType = one.addressType or "manual"
            mac.settle(made, self.macs | {card.macAddress.lower() for card in self._cards()})
        self.devices[one.key] = made


def _is_new_controller(change: Any) -> bool:
    return change.operation == "add" and isinstance(change.device, device.VirtualController)


def _fits(controller: Any, unit: int, units: Iterable[int]) -> bool:
    own = getattr(controller, "scsiCtlrUnitNumber", None)
    return unit not in units and unit != own and unit < slots.capacity(controller)
