"""Devices that a machine goes without, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

from steps.saved_vm.configuration import Device, Saved, text
from steps.saved_vm.kinds import CARDS, SCSI, TPM, said
from steps.vsphere.vm_spec import Change

_THERE = (
    *SCSI,
    *CARDS,
    "VirtualAHCIController",
    "VirtualNVMEController",
    "VirtualIDEController",
    "VirtualPS2Controller",
    "VirtualPCIController",
    "VirtualSIOController",
    "VirtualKeyboard",
    "VirtualPointingDevice",
    "VirtualDisk",
)
"""Decided elsewhere, or part of every machine of QEMU."""

TPM_EMPTY = (
    "its keys are in no backup: BitLocker asks for its recovery key, and what else it sealed stays locked"
)

VIDEO_DARK = (
    "Linux's driver for VMware's rejects QEMU's and leaves the console dark (tried with Linux 6.1); every "
    "guest shows its console on this one"
)

_OF_A_HOST = "it is a device of the old host"
_NO_MEMORY = "its persistent memory is not in the backup"

_WHY: Mapping[str, tuple[str, bool]] = {
    TPM: (TPM_EMPTY, True),
    "VirtualPCIPassthrough": (_OF_A_HOST, True),
    "VirtualPCIPassthroughDvx": (_OF_A_HOST, True),
    "VirtualSriovEthernetCard": ("it is a part of the old host's card", True),
    "VirtualSCSIPassthrough": (_OF_A_HOST, True),
    "VirtualUSB": ("it is a USB device that was plugged in", False),
    "VirtualNVDIMM": (_NO_MEMORY, True),
    "VirtualNVDIMMController": (_NO_MEMORY, True),
    "VirtualCdrom": ("what is in a drive is not in a backup", False),
    "VirtualFloppy": ("what is in a drive is not in a backup", False),
    "VirtualVMCIDevice": ("QEMU has none: VMware Tools find no VMware around them", False),
    "VirtualWDT": ("it would restart a guest that is slow to start", False),
}


def left_out(saved: Saved) -> tuple[Change, ...]:
    return (*_of_devices(saved), *_serial_ports(saved))


def _of_devices(saved: Saved) -> tuple[Change, ...]:
    return tuple(
        _left_out(device)
        for device in saved.devices
        if device.type not in _THERE and device.type != "VirtualSerialPort"
    )


def _left_out(device: Device) -> Change:
    if device.type == "VirtualVideoCard":
        return Change(what=device.label, was="VMware SVGA", becomes="VGA", why=VIDEO_DARK, kind="changed")
    why, warn = _WHY.get(device.type, ("no guest needs it to start", False))
    return Change(what=device.label, was=said(device), becomes="", why=why, kind="left out", warn=warn)


def _serial_ports(saved: Saved) -> tuple[Change, ...]:
    """The machine has one; where that of the VM led to is not opened."""
    ports = [device for device in saved.devices if device.type == "VirtualSerialPort"]
    changes = []
    for place, device in enumerate(sorted(ports, key=lambda one: (one.unit or 0, one.key))):
        led_to = text(device.backing, "fileName") or text(device.backing, "deviceName") or "a device"
        if place:
            why = "the machine has one serial port"
            changes.append(Change(what=device.label, was="serial port", becomes="", why=why, kind="left out"))
        else:
            was, why = f"serial port to {led_to}", "what the guest says there is looked at"
            changes.append(
                Change(what=device.label, was=was, becomes="serial port, read", why=why, kind="changed")
            )
    return tuple(changes)
