"""The disks of a machine: each on a controller of the kind that it had, or on the one that comes closest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.machine.controllers import NAMES, UNITS, closest
from steps.saved_vm import kinds
from steps.saved_vm.configuration import Device, Saved, number, text
from steps.values.machine import DiskController, Firmware, MachineDisk
from steps.vsphere.vm_spec import Change


@dataclass(frozen=True)
class DiskToBoot:
    """A disk that there are bytes for."""

    key: int
    label: str
    capacity: int
    """Bytes."""


@dataclass(frozen=True)
class _Place:
    controller: DiskController
    group: tuple[int, int]
    """What shares a controller; sorts."""
    unit: int
    was: str
    why: str
    """Why the controller is another one; empty where it is the same."""


_OVMF_READS = ("ich9-ahci", "nvme")
_MOVED = 1
"""Controllers that take the place of others come after those that the VM had."""


def decide(
    saved: Saved, disks: Sequence[DiskToBoot], boot: Sequence[int], firmware: Firmware
) -> tuple[tuple[MachineDisk, ...], tuple[Change, ...]]:
    """In key order. `boot`: keys of those that the firmware tries."""
    devices = {device.key: device for device in saved.disks}
    ordered = sorted(disks, key=lambda one: one.key)
    places = {
        disk.key: _place(saved, disk, devices.get(disk.key), boot, firmware, place)
        for place, disk in enumerate(ordered)
    }
    made: list[MachineDisk] = []
    changes: list[Change] = []
    buses = _buses(places)
    for disk in ordered:
        place = places[disk.key]
        controller, unit = place.controller, place.unit % UNITS[place.controller]
        bus = buses[controller, place.group, place.unit // UNITS[controller]]
        rank = boot.index(disk.key) if disk.key in boot else None
        made.append(
            MachineDisk(
                key=disk.key,
                label=disk.label,
                capacity=disk.capacity,
                controller=controller,
                bus=bus,
                unit=unit,
                boot=rank,
            )
        )
        changes += _change(disk, place, controller, bus, unit)
    return tuple(made), (*changes, *_left_out(saved, {disk.key for disk in disks}))


def _place(
    saved: Saved,
    disk: DiskToBoot,
    device: Device | None,
    boot: Sequence[int],
    firmware: Firmware,
    place: int,
) -> _Place:
    controller = saved.device(device.controller) if device is not None else None
    kind, guest = "" if controller is None else controller.type, text(saved.json, "guestId")
    bus = 0 if controller is None else number(controller.json, "busNumber") or 0
    found, why = closest(kind, guest)
    unit = device.unit if device is not None and device.unit is not None and controller is not None else place
    was = "not recorded" if controller is None else f"{kinds.said(controller)} {bus}:{unit}"
    if firmware != "bios" and found == "piix3-ide":
        found, why = "ich9-ahci", "the machine that EFI runs on has no IDE controller"
        return _Place(found, (_MOVED, bus), unit + 2 * bus, was, why)
    if firmware != "bios" and disk.key in boot and found not in _OVMF_READS:
        why = f"QEMU's EFI firmware reads no disks on {NAMES[found]}"
        return _Place("ich9-ahci", (-1, 0), boot.index(disk.key), was, why)
    if firmware == "bios" and disk.key in boot and found == "nvme" and unit > 0:
        why = "QEMU's BIOS boots the first disk of an NVMe controller alone: this one gets its own"
        return _Place("nvme", (_MOVED, boot.index(disk.key)), 0, was, why)
    return _Place(found, (_MOVED if why else 0, bus), max(0, unit), was, why)


def _buses(places: Mapping[int, _Place]) -> dict[tuple[DiskController, tuple[int, int], int], int]:
    """What each of QEMU's controllers counts as among those of its kind."""
    found: dict[tuple[DiskController, tuple[int, int], int], int] = {}
    for controller in UNITS:
        of_kind = {
            (place.group, place.unit // UNITS[controller])
            for place in places.values()
            if place.controller == controller
        }
        for bus, (group, part) in enumerate(sorted(of_kind)):
            found[controller, group, part] = bus
    return found


def _change(
    disk: DiskToBoot, place: _Place, controller: DiskController, bus: int, unit: int
) -> tuple[Change, ...]:
    why = place.why
    if not why and place.unit >= UNITS[controller]:
        why = (
            f"QEMU's {NAMES[controller]} controller takes {UNITS[controller]} disks: there is one more of it"
        )
    if not why:
        return ()
    becomes = f"{NAMES[controller]} {bus}:{unit}"
    return (Change(what=disk.label, was=place.was, becomes=becomes, why=why, kind="changed", warn=True),)


def _left_out(saved: Saved, there: set[int]) -> tuple[Change, ...]:
    why = "it is not in the restore point, or was not asked for"
    return tuple(
        Change(what=device.label, was="a disk", becomes="", why=why, kind="left out", warn=True)
        for device in saved.disks
        if device.key not in there
    )
