"""The network adapters of a machine, in the order in which the guest found them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from steps.saved_vm.configuration import Device, Saved, number, part, text
from steps.saved_vm.kinds import CARDS, said
from steps.values.machine import Board, CardModel, MachineCard
from steps.vsphere.vm_spec import Change

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

_MODELS: Mapping[str, CardModel] = {
    "VirtualVmxnet3": "vmxnet3",
    "VirtualVmxnet3Vrdma": "vmxnet3",
    "VirtualVmxnet2": "e1000",
    "VirtualVmxnet": "e1000",
    "VirtualE1000": "e1000",
    "VirtualE1000e": "e1000e",
    "VirtualPCNet32": "pcnet",
}

_WHY = {
    "VirtualVmxnet3Vrdma": "QEMU has none with RDMA",
    "VirtualVmxnet2": "QEMU has none; every guest of its time has a driver for an e1000",
    "VirtualVmxnet": "QEMU has none; every guest of its time has a driver for an e1000",
}

SLOTS_LOST = "the machine with IDE has no such slots: Linux may name the interface otherwise than `ens192`"


def decide(saved: Saved, board: Board) -> tuple[tuple[MachineCard, ...], tuple[Change, ...]]:
    devices = sorted((one for one in saved.devices if one.type in CARDS), key=_order)
    made: list[MachineCard] = []
    changes: list[Change] = []
    for device in devices:
        model = _MODELS[device.type]
        mac, change = _mac(device)
        slot = slot_of(device) if board == "q35" else None
        made.append(MachineCard(key=device.key, label=device.label, model=model, mac=mac, slot=slot))
        changes += (*change, *_slot(device, slot))
        if device.type in _WHY:
            why = _WHY[device.type]
            changes.append(
                Change(what=device.label, was=said(device), becomes=model, why=why, kind="changed", warn=True)
            )
    return tuple(made), tuple(changes)


def slot_of(device: Device) -> int | None:
    """VMware's number, of a slot behind a bridge: 32 and up, and what a PCI Express slot can be called."""
    slot = number(part(device.json, "slotInfo"), "pciSlotNumber")
    return slot if slot is not None and 32 <= slot < 1 << 13 else None


def _order(device: Device) -> tuple[int, int, int, int]:
    """As a guest meets them: by bridge, function of the bridge and slot behind it, which VMware keeps in one
    number (bits 5 to 9, 10 and up, 0 to 4: ``192`` is bridge 6; reported). Without it, last and by key."""
    slot = slot_of(device)
    if slot is None:
        return 32, 0, 0, device.key
    return slot >> 5 & 31, slot >> 10, slot & 31, device.key


def _slot(device: Device, becomes: int | None) -> tuple[Change, ...]:
    was = slot_of(device)
    if was == becomes:
        return ()
    what = f"PCI slot of {device.label}"
    return (Change(what=what, was=str(was), becomes="another", why=SLOTS_LOST, kind="changed", warn=True),)


def _mac(device: Device) -> tuple[str, tuple[Change, ...]]:
    saved = text(device.json, "macAddress").lower()
    if _MAC.fullmatch(saved):
        return saved, ()
    # QEMU's own range; the key keeps those of one VM apart.
    made = f"52:54:00:00:{device.key >> 8 & 255:02x}:{device.key & 255:02x}"
    what, why = f"MAC address of {device.label}", "none was saved"
    return made, (Change(what=what, was="", becomes=made, why=why, kind="changed"),)
