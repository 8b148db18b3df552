"""What becomes of each device of a saved VM: an allowlist. What is not on it is left out with a word, and
never keeps the rest from coming back (Bareos refused whole VMs for a USB device: bareos issue 2166)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from pydantic import JsonValue

from steps.saved_vm.configuration import Device, Json, Saved, number, part, text
from steps.saved_vm.kinds import CARDS, SCSI, TPM, said
from steps.vsphere.vm_spec import OWN_CONTROLLERS, Change, NewDevice

OWN = (
    "VirtualIDEController",
    "VirtualPS2Controller",
    "VirtualPCIController",
    "VirtualSIOController",
    "VirtualKeyboard",
    "VirtualPointingDevice",
    "VirtualVMCIDevice",
)
"""Every VM gets its own; in a spec they make it fail (Virtual Disk Development Kit, "Using the
VirtualMachineConfigInfo Structure")."""

IDE = (200, 201)
SIO = 400
PCI = 100

_LOST: dict[str, str] = {
    "VirtualPCIPassthrough": "it is a device of the old host: add one of the new host in vSphere",
    "VirtualSriovEthernetCard": "it is a part of the old host's card: add one of the new host in vSphere",
    "VirtualSCSIPassthrough": "it is a device of the old host",
    "VirtualUSB": "it is a USB device that was plugged in",
    "VirtualParallelPort": "it leads to a port or file of the old host",
    "VirtualNVDIMM": "its persistent memory is not in the backup",
    "VirtualNVDIMMController": "its persistent memory is not in the backup",
    "VirtualPrecisionClock": "it takes the clock of the old host",
    "VirtualHdAudioCard": "sound is not restored",
    "VirtualSoundBlaster16": "sound is not restored",
    "VirtualEnsoniq1371": "sound is not restored",
    "VirtualPCIPassthroughDvx": "it is a device of the old host",
}

_Made = tuple[NewDevice | None, Change]


def others(saved: Saved) -> tuple[tuple[NewDevice, ...], tuple[Change, ...]]:
    """All devices but disks, network adapters and the TPM; controllers first."""
    made = [_become(device) for device in saved.devices if _is_other(device)]
    there = {*OWN_CONTROLLERS, *(device.key for device, _ in made if device is not None)}
    made = [one if _hangs(one[0], there) else (None, _lost(one[1])) for one in made]
    new = [device for device, _ in made if device is not None]
    new.sort(key=lambda one: (one.controller is not None, one.key))
    return tuple(new), tuple(change for _, change in made)


def _hangs(device: NewDevice | None, there: Container[int]) -> bool:
    return device is None or device.controller is None or device.controller in there


def _lost(change: Change) -> Change:
    why = "what it was attached to is not restored"
    return Change(what=change.what, was=change.was, becomes="", why=why, kind="left out", warn=True)


def _is_other(device: Device) -> bool:
    return device.type not in (*OWN, *CARDS, TPM, "VirtualDisk")


def _become(device: Device) -> _Made:
    make = _KINDS.get(device.type)
    if make is not None:
        return make(device)
    why = _LOST.get(device.type, f"devices of the kind {device.type or 'that it is'} are not restored")
    return None, Change(what=device.label, was=said(device), becomes="", why=why, kind="left out", warn=True)


def some(of: Json, *names: str) -> dict[str, JsonValue]:
    """Those of these properties that are set."""
    return {name: of[name] for name in names if name in of}


def _kept(device: Device, new: NewDevice, words: str = "") -> _Made:
    text = words or said(device)
    return new, Change(what=device.label, was=text, becomes=text, kind="kept")


def _scsi(device: Device) -> _Made:
    bus = number(device.json, "busNumber") or 0
    sharing = text(device.json, "sharedBus") or "noSharing"
    new = NewDevice(key=device.key, type=device.type, properties={"busNumber": bus, "sharedBus": "noSharing"})
    if sharing == "noSharing":
        return _kept(device, new)
    why = "the VMs that it was shared with are not restored with it: share it again in vSphere"
    was = f"{said(device)}, {'virtual' if sharing == 'virtualSharing' else 'physical'} bus sharing"
    return new, Change(
        what=device.label, was=was, becomes=f"{said(device)}, not shared", why=why, kind="changed", warn=True
    )


def _controller(device: Device) -> _Made:
    names = ("busNumber", "autoConnectDevices", "ehciEnabled")
    return _kept(device, NewDevice(key=device.key, type=device.type, properties=some(device.json, *names)))


def _drive(device: Device) -> _Made:
    """A drive's medium is in no backup, and a spec that names one that is not there is refused as a whole
    (Bareos)."""
    loaded = text(device.backing, "fileName")
    new = NewDevice(
        key=device.key,
        type=device.type,
        controller=device.controller,
        unit=device.unit,
        properties={
            "backing": _remote(device),
            "connectable": connectable(device, start=False),
        },
    )
    if not loaded:
        return _kept(device, new)
    why = "what is in a drive is not in a backup: insert it again in vSphere if it is needed"
    was, becomes = f"{said(device)} with {loaded}", f"{said(device)}, empty"
    return new, Change(what=device.label, was=was, becomes=becomes, why=why, kind="changed")


def _remote(device: Device) -> dict[str, JsonValue]:
    if device.type == "VirtualCdrom":
        return {"_type": "RemotePassthroughBackingInfo", "deviceName": "", "exclusive": False}
    return {"_type": "RemoteDeviceBackingInfo", "deviceName": ""}


def connectable(device: Device, *, start: bool) -> dict[str, JsonValue]:
    """Connected when the VM is switched on: not before, since there is no VM yet."""
    allowed = part(device.json, "connectable").get("allowGuestControl")
    return {
        "_type": "ConnectInfo",
        "startConnected": start,
        "allowGuestControl": allowed if isinstance(allowed, bool) else True,
        "connected": False,
    }


def _serial(device: Device) -> _Made:
    """Some guests do not boot without their serial port, so it stays; what was behind it stays if that is a
    network address or a pipe."""
    form, start = (
        text(device.backing, "_type"),
        part(device.json, "connectable").get("startConnected") is not False,
    )
    keeps = {
        "URIBackingInfo": ("serviceURI", "direction", "proxyURI"),
        "PipeBackingInfo": ("pipeName", "endpoint", "noRxLoss"),
        "ThinPrintBackingInfo": (),
    }
    known = form in keeps
    backing: dict[str, JsonValue] = (
        {"_type": form, **some(device.backing, *keeps[form])}
        if known
        else {"_type": "DeviceBackingInfo", "deviceName": text(device.backing, "deviceName") or _UART}
    )
    new = NewDevice(
        key=device.key,
        type=device.type,
        controller=device.controller,
        unit=device.unit,
        properties={
            "backing": backing,
            "connectable": connectable(device, start=known and start),
            **some(device.json, "yieldOnPoll"),
        },
    )
    if known:
        return _kept(device, new)
    led_to = text(device.backing, "fileName") or text(device.backing, "deviceName") or "a device"
    return new, Change(
        what=device.label,
        was=f"serial port to {led_to}",
        becomes="serial port, not connected",
        why="it led to a file or port of the old host",
        kind="changed",
        warn=True,
    )


_UART = "/dev/char/serial/uart0"
"""ESXi's name of a host's first port, as govmomi gives it to a new one."""


def _video(device: Device) -> _Made:
    names = (
        "videoRamSizeInKB",
        "numDisplays",
        "useAutoDetect",
        "enable3DSupport",
        "use3dRenderer",
        "graphicsMemorySizeInKB",
    )
    return _kept(
        device,
        NewDevice(
            key=device.key,
            type=device.type,
            controller=PCI,
            unit=device.unit,
            properties=some(device.json, *names),
        ),
    )


def _watchdog(device: Device) -> _Made:
    new = NewDevice(
        key=device.key,
        type=device.type,
        controller=PCI,
        unit=device.unit,
        properties={"runOnBoot": device.json.get("runOnBoot") is True, "running": False},
    )
    return _kept(device, new)


_KINDS: Mapping[str, Callable[[Device], _Made]] = {
    **dict.fromkeys(SCSI, _scsi),
    "VirtualAHCIController": _controller,
    "VirtualNVMEController": _controller,
    "VirtualUSBController": _controller,
    "VirtualUSBXHCIController": _controller,
    "VirtualCdrom": _drive,
    "VirtualFloppy": _drive,
    "VirtualSerialPort": _serial,
    "VirtualVideoCard": _video,
    "VirtualWDT": _watchdog,
}
