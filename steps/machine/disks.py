"""The disks of a machine: each on a controller of the kind that it had, or on the one that comes closest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from steps.machine.controllers import NAMES, NOT_RECORDED, UNITS, closest
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


Group = tuple[int, int, int]
"""What shares a controller, or several of a kind if it is too much for one: its rank, the controller's number
and key in the VM. Sorts as the controllers do."""

_BOOT, _SAME, _MOVED = range(3)
"""Ranks: controllers that take the place of others come after those that the VM had, but the one that EFI
boots from."""

_OVMF_READS = ("ich9-ahci", "nvme")


@dataclass(frozen=True)
class _Place:
    controller: DiskController
    group: Group
    unit: int
    was: str
    why: str
    """Why the controller is another one; empty where it is the same."""
    is_other_kind: bool = False
    """Whether the guest needs another driver for it."""


def decide(
    saved: Saved, disks: Sequence[DiskToBoot], boot: Sequence[int], firmware: Firmware
) -> tuple[tuple[MachineDisk, ...], tuple[Change, ...]]:
    """In key order. `boot`: keys of those that the firmware tries."""
    ordered = sorted(disks, key=lambda one: one.key)
    places = _places(saved, ordered, boot, firmware)
    buses = _buses(places.values())
    made: list[MachineDisk] = []
    changes: list[Change] = []
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
                instead_of=place.was if place.is_other_kind else "",
            )
        )
        changes += _change(disk, place, controller, bus, unit)
    return tuple(made), (*changes, *_left_out(saved, {disk.key for disk in disks}))


def _places(
    saved: Saved, ordered: Sequence[DiskToBoot], boot: Sequence[int], firmware: Firmware
) -> dict[int, _Place]:
    """No two the same: QEMU does not start a machine with two disks in one place."""
    devices = {device.key: device for device in saved.disks}
    found: dict[int, _Place] = {}
    taken: set[tuple[DiskController, Group, int]] = set()
    for disk in ordered:
        place = _place(saved, devices.get(disk.key), boot, firmware)
        if firmware == "bios" and place.controller == "nvme" and place.unit > 0 and disk.key in boot:
            why = "QEMU's BIOS boots the first disk of an NVMe controller alone: this one gets its own"
            place = replace(place, group=(_MOVED, 0, boot.index(disk.key)), unit=0, why=why)
        while (place.controller, place.group, place.unit) in taken:
            place = _next(place)
        taken.add((place.controller, place.group, place.unit))
        found[disk.key] = place
    return found


def _next(place: _Place) -> _Place:
    why = place.why or "its place is taken"
    if place.controller == "piix3-ide":  # there are no more of it
        group = (_MOVED, *place.group[1:])
        return replace(place, controller="ich9-ahci", group=group, why=why, is_other_kind=True)
    return replace(place, unit=place.unit + 1, why=why)


def _place(saved: Saved, device: Device | None, boot: Sequence[int], firmware: Firmware) -> _Place:
    controller = saved.device(device.controller) if device is not None else None
    if device is None or controller is None or device.unit is None or device.unit < 0:
        return _Place("ich9-ahci", (_MOVED, 0, 0), 0, "not recorded", NOT_RECORDED, is_other_kind=True)
    bus, unit = number(controller.json, "busNumber") or 0, device.unit
    was = f"{kinds.said(controller)} {bus}:{unit}"
    found, why = closest(controller.type, text(saved.json, "guestId"))
    if found == "piix3-ide" and firmware != "bios":
        found, why = "ich9-ahci", "the machine that EFI runs on has no IDE controller"
    elif found == "piix3-ide" and not {bus, unit} <= {0, 1}:
        found, why = "ich9-ahci", "IDE has two channels of two disks"
    if firmware != "bios" and device.key in boot and found not in _OVMF_READS:
        why = f"QEMU's EFI firmware reads no disks on {NAMES[found]}"
        return _Place("ich9-ahci", (_BOOT, 0, 0), boot.index(device.key), was, why, is_other_kind=True)
    of_board = found == "piix3-ide"
    group = (_MOVED if why else _SAME, bus, 0 if of_board else controller.key)
    return _Place(found, group, unit, was, why, is_other_kind=bool(why))


def _buses(places: Collection[_Place]) -> dict[tuple[DiskController, Group, int], int]:
    """What each of QEMU's controllers counts as among those of its kind. IDE's two channels are always there,
    and keep their numbers."""
    found: dict[tuple[DiskController, Group, int], int] = {}
    for controller, units in UNITS.items():
        of_kind = {(one.group, one.unit // units) for one in places if one.controller == controller}
        for place, (group, part) in enumerate(sorted(of_kind)):
            found[controller, group, part] = group[1] if controller == "piix3-ide" else place
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
