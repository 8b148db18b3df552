"""What the devices are plugged into: VMware's has both IDE and PCI Express, and QEMU's one of the two."""

from __future__ import annotations

from collections.abc import Sequence

from steps.machine.cards import slot_of
from steps.saved_vm.configuration import Saved, text
from steps.saved_vm.kinds import CARDS
from steps.values.machine import Board, Firmware, MachineDisk

_OLD = ("win3", "win9", "winMe", "winNT", "win2000", "winXP", "winNet", "dos", "os2")
"""Guests older than PCI Express."""


def decide(saved: Saved, firmware: Firmware, disks: Sequence[MachineDisk]) -> Board:
    """A Q35 wherever it can be: only there is a network adapter in the slot that it had, and Linux names
    interfaces after slots (``ens192``; tried with udev 252). OVMF is at home there as well."""
    if firmware != "bios":
        return "q35"
    if any(disk.controller == "piix3-ide" for disk in disks) or text(saved.json, "guestId").startswith(_OLD):
        return "pc"
    had_slots = any(slot_of(device) is not None for device in saved.devices if device.type in CARDS)
    return "q35" if had_slots else "pc"
