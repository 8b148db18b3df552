"""Where a device sits: the key that the server gives it, its controller, its unit number.

Keys as seen in dumps of real VMs (govmomi, vim25/types/testdata/vminfo.json); nothing promises them. A
controller's key and a unit number together are unique (API reference, VirtualDevice.unitNumber).
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from typing import Any

from steps.lab.simulator.devices import PCI
from steps.lab.simulator.vmodl import vim

device: Any = vim.vm.device

SIO = 400

FIRST_KEYS: tuple[tuple[Any, int], ...] = (
    (device.VirtualIDEController, 200),
    (device.VirtualSCSIController, 1000),
    (device.VirtualSATAController, 15000),
    (device.VirtualNVMEController, 31000),
    (device.VirtualUSBXHCIController, 14000),
    (device.VirtualUSBController, 7000),
    (device.VirtualEthernetCard, 4000),
    (device.VirtualSoundCard, 5000),
    (device.VirtualFloppy, 8000),
    (device.VirtualSerialPort, 9000),
    (device.VirtualParallelPort, 10000),
    (device.VirtualTPM, 11000),
    (device.VirtualVMCIDevice, 12000),
    (device.VirtualPCIPassthrough, 13000),
    (device.VirtualVideoCard, 500),
)
STORAGE = (
    (device.VirtualIDEController, 3000, 2),
    (device.ParaVirtualSCSIController, 2000, 64),
    (device.VirtualSCSIController, 2000, 16),
    (device.VirtualSATAController, 16000, 30),
    (device.VirtualNVMEController, 32000, 15),
)
"""What disks and CD-ROM drives hang on, the key of the first one, how many it takes (govmomi,
configspec.go)."""

FIRST_UNITS: tuple[tuple[Any, int], ...] = (
    (device.VirtualVideoCard, 0),
    (device.VirtualSCSIController, 3),
    (device.VirtualEthernetCard, 7),
    (device.VirtualVMCIDevice, 17),
    (device.VirtualUSBController, 22),
    (device.VirtualUSBXHCIController, 23),
    (device.VirtualSATAController, 24),
    (device.VirtualNVMEController, 30),
)
"""On the PCI controller, of those that say none: kinds do not take each other's (the same dumps)."""

MOST_CONTROLLERS = 4
"""Of a kind: SCSI, SATA, NVMe."""

ON_SIO = (device.VirtualFloppy, device.VirtualSerialPort, device.VirtualParallelPort)


def is_storage(controller: Any) -> bool:
    return isinstance(controller, tuple(kind for kind, _, _ in STORAGE))


def capacity(controller: Any) -> int:
    """How many disks it takes."""
    return next(most for kind, _, most in STORAGE if isinstance(controller, kind))


def family(controller: Any) -> Any:
    """The kind whose members count their buses together."""
    kinds = (kind for kind, _ in FIRST_KEYS[:4])
    return next((kind for kind in kinds if isinstance(controller, kind)), type(controller))


def key_of_stored(controller: Any, unit: int, taken: Container[int]) -> int:
    """Of a disk or a CD-ROM drive."""
    _, first, _ = next(one for one in STORAGE if isinstance(controller, one[0]))
    per_bus = {3000: 2, 2000: 16, 16000: 30, 32000: 15}[first]
    wanted = first + per_bus * controller.busNumber + unit
    return wanted if unit < per_bus and wanted not in taken else free_from(first + 100, taken)


def key_of_other(one: Any, taken: Container[int]) -> int:
    """Of a controller or any other device."""
    first = next((first for kind, first in FIRST_KEYS if isinstance(one, kind)), 20000)
    bus = getattr(one, "busNumber", None)
    return free_from(first + (bus or 0), taken)


def free_from(first: int, taken: Container[int]) -> int:
    return next(key for key in itertools.count(first) if key not in taken)


def free_unit(controller: Any, units: Container[int], one: Any) -> int | None:
    """For the device `one`; None where it is full."""
    if not is_storage(controller):
        first = next((unit for kind, unit in FIRST_UNITS if isinstance(one, kind)), 32)
        return next(
            unit for unit in itertools.count(first if controller.key == PCI else 0) if unit not in units
        )
    own = getattr(controller, "scsiCtlrUnitNumber", None)
    return next((unit for unit in range(capacity(controller)) if unit not in units and unit != own), None)


def free_bus(controller: Any, devices: Mapping[int, Any]) -> int:
    kind = family(controller)
    taken = {one.busNumber for one in devices.values() if isinstance(one, kind)}
    return next(bus for bus in itertools.count() if bus not in taken)


def default_controller(one: Any) -> int:
    """What a device hangs on that says nothing of it."""
    return SIO if isinstance(one, ON_SIO) else PCI
