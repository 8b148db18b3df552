"""ConfigSpecs as a client of vCenter sends them. Keys are negative, as those of new devices are."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

device: Any = vim.vm.device


def config_spec(name: str = "new", path: str = "[ds1]", **fields: Any) -> Any:
    return vim.vm.ConfigSpec(name=name, files=vim.vm.FileInfo(vmPathName=path), **fields)


def change(one: Any, operation: str = "add", file: str | None = None) -> Any:
    return device.VirtualDeviceSpec(device=one, operation=operation, fileOperation=file)


def controller(key: int = -1, kind: Any = device.ParaVirtualSCSIController, bus: int = 0) -> Any:
    made = kind(key=key, busNumber=bus)
    if isinstance(made, device.VirtualSCSIController):
        made.sharedBus = "noSharing"
    return change(made)


def disk(
    unit: int | None,
    size: int | None = None,
    *,
    on: int = -1,
    key: int | None = None,
    file: str = "",
    thin: bool = True,
    parent: bool = False,
) -> Any:
    """A new one of `size` bytes, or without a size the one that is in `file`."""
    backing = device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent", thinProvisioned=thin)
    if parent:
        backing.parent = device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent")
    made = device.VirtualDisk(
        key=-100 + 10 * on - (unit or 0) if key is None else key, controllerKey=on, unitNumber=unit
    )
    made.backing, made.capacityInKB = backing, (size or 0) // 1024
    if size:
        made.capacityInBytes = size
    return change(made, file="create" if size else None)


def cdrom(*, key: int = -20, on: int = 201, unit: int = 0, image: str = "") -> Any:
    backing: Any = device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
    if image:
        backing = device.VirtualCdrom.IsoBackingInfo(fileName=image)
    return device.VirtualCdrom(key=key, controllerKey=on, unitNumber=unit, backing=backing)


def network_card(network: str = "VM Network", mac: str = "", kind: str | None = None, key: int = -40) -> Any:
    made = device.VirtualVmxnet3(key=key, backing=device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network))
    made.macAddress, made.addressType = mac or None, kind
    return made
