"""A VM's devices as values: disks by the key the server gave them, never by a computed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runner.base.units import KiB
from steps.vsphere import vmomi
from steps.vsphere.datastores import Datastores, chain, file_in, store_of
from steps.vsphere.errors import Unset, VSphereError
from steps.vsphere.inventory import Controller, Disk, FrozenDisk, Network, Uncovered, Untracked
from steps.vsphere.names import unescape
from steps.vsphere.unset import given

_CONTROLLERS = {
    "ParaVirtualSCSIController": "pvscsi",
    "VirtualLsiLogicController": "lsilogic",
    "VirtualLsiLogicSASController": "lsilogic-sas",
    "VirtualBusLogicController": "buslogic",
    "VirtualAHCIController": "sata",
    "VirtualIDEController": "ide",
    "VirtualNVMEController": "nvme",
}

NO_FLAT_FILES = {"vsan": "vSAN", "VVOL": "a vVol datastore"}
"""Datastore.summary.type of those that keep disks as objects: there, -flat.vmdk does not exist."""


def disks(
    devices: Sequence[Any], stores: Datastores, *, tracking: bool
) -> tuple[tuple[Disk, ...], tuple[Uncovered, ...]]:
    """What a snapshot covers, and what it does not with the reason, each in key order. `tracking` is the VM's
    changeTrackingEnabled. Raises Unset, VSphereError for a covered disk without a uuid or a controller."""
    controller = _device().VirtualController
    controllers = {device.key: device for device in devices if isinstance(device, controller)}
    covered: list[Disk] = []
    uncovered: list[Uncovered] = []
    for device in sorted(virtual_disks(devices), key=lambda disk: int(disk.key)):
        why = not_covered(device, controllers)
        if why:
            uncovered.append(
                Uncovered(key=device.key, label=_label(device), capacity=_about(device), why=why)
            )
        else:
            covered.append(_disk(device, controllers, stores, tracking=tracking))
    _refuse_shared_keys([*covered, *uncovered])
    return tuple(covered), tuple(uncovered)


def _refuse_shared_keys(found: Sequence[Disk | Uncovered]) -> None:
    """A key that a server left out arrives as 0; two of those cannot be told apart."""
    for key, count in Counter(disk.key for disk in found).items():
        if count > 1:
            labels = ", ".join(disk.label for disk in found if disk.key == key)
            raise VSphereError(
                f"vSphere gives the key {key} to {count} disks ({labels}), so they cannot be told apart: "
                "check the VM in vSphere, then run again"
            )


def encrypted(devices: Sequence[Any]) -> bool:
    """Whether a disk is."""
    return any(getattr(disk.backing, "keyId", None) is not None for disk in virtual_disks(devices))


def virtual_disks(devices: Sequence[Any]) -> list[Any]:
    return [device for device in devices if isinstance(device, _disk_type())]


def not_covered(disk: Any, controllers: Mapping[int, Any]) -> str:
    """Why a snapshot does not cover the disk; empty if it does."""
    backing = given(disk, "backing", named(disk))
    mode = getattr(backing, "diskMode", None) or ""
    if mode.startswith("independent"):
        return f"independent ({mode})"
    if getattr(backing, "compatibilityMode", None) == "physicalMode":
        return "physical RDM"
    if isinstance(backing, _disk_type().RawDiskVer2BackingInfo):
        return "raw disk"
    if getattr(backing, "sharing", None) == "sharingMultiWriter":
        return "shared between VMs (multi-writer)"
    shared = getattr(controllers.get(disk.controllerKey), "sharedBus", None)
    if shared is not None and shared != "noSharing":
        return f"shared bus ({shared})"
    return ""


def capacity(disk: Any) -> int:
    """Bytes, to the byte; capacityInKB is rounded. Raises Unset."""
    return int(given(disk, "capacityInBytes", named(disk)))


def _about(disk: Any) -> int:
    """Bytes of a disk that is not read, for people: rounded where only capacityInKB is set."""
    return int(disk.capacityInBytes or disk.capacityInKB * KiB)


def frozen(disk: Any, stores: Datastores, *, tracking: bool | None) -> FrozenDisk:
    """A disk out of a snapshot's config. `tracking` is the VM's changeTrackingEnabled then, None where there
    is no snapshot yet. Raises Unset, VSphereError."""
    backing = given(disk, "backing", named(disk))
    store = stores.get(store_of(backing))
    why = _why_not_flat(backing, store.kind if store is not None else "")
    change_id = getattr(backing, "changeId", None) or None
    return FrozenDisk(
        key=disk.key,
        backing_uuid=_backing_uuid(disk),
        capacity=capacity(disk),
        file=_file_name(disk, backing),
        datastore=file_in(backing, stores, _file_name(disk, backing)).datastore,
        flat=not why,
        why_not_flat=why,
        change_id=change_id,
        untracked=""
        if change_id is not None or tracking is None
        else _why_untracked(backing, tracking=tracking),
    )


def _why_untracked(backing: Any, *, tracking: bool) -> Untracked:
    if not _has_change_id(backing):
        return "never"
    return "missing" if tracking else "off"


def networks(devices: Sequence[Any], portgroups: Mapping[str, str]) -> tuple[Network, ...]:
    """`portgroups`: names of distributed port groups by key."""
    cards = [device for device in devices if isinstance(device, _device().VirtualEthernetCard)]
    return tuple(
        Network(
            key=card.key,
            label=_label(card),
            name=_network_name(card.backing, portgroups),
            mac=card.macAddress or "",
            adapter=_type_name(card).removeprefix("Virtual").lower(),
        )
        for card in sorted(cards, key=lambda card: int(card.key))
    )


def _disk(device: Any, controllers: Mapping[int, Any], stores: Datastores, *, tracking: bool) -> Disk:
    *_, base = chain(device)
    backing = device.backing
    controller = controllers.get(device.controllerKey)
    if controller is None or device.unitNumber is None:
        raise Unset("controllerKey" if controller is None else "unitNumber", named(device))
    return Disk(
        key=device.key,
        label=_label(device),
        controller=Controller(
            key=controller.key,
            kind=_CONTROLLERS.get(_type_name(controller), _type_name(controller)),
            bus=controller.busNumber,
        ),
        unit=device.unitNumber,
        capacity=capacity(device),
        backing_uuid=_backing_uuid(device),
        datastore=file_in(base, stores, _file_name(device, base)).datastore,
        mode=getattr(backing, "diskMode", None) or "",
        thin=bool(getattr(backing, "thinProvisioned", None)),
        change_tracking=tracking and _has_change_id(backing),
    )


def _backing_uuid(device: Any) -> str:
    """The same along a chain of deltas, so it says which disk it is."""
    uuid = getattr(device.backing, "uuid", None)
    if not uuid:
        raise VSphereError(
            f"{named(device)} has no backing.uuid, so it cannot be told from another disk: make it "
            "independent and leave it out with skip-uncovered"
        )
    return str(uuid)


def _file_name(disk: Any, backing: Any) -> str:
    return str(given(backing, "fileName", named(disk)))


def _why_not_flat(backing: Any, datastore_kind: str) -> str:
    if not isinstance(backing, _disk_type().FlatVer2BackingInfo):
        return (
            f"its backing is {_type_name(backing).removeprefix('VirtualDisk').removesuffix('BackingInfo')}, "
            "not flat"
        )
    if backing.parent is not None:
        return "there is another snapshot below it, so that its file is a delta"
    if why := why_no_flat_file(datastore_kind):
        return why
    if backing.keyId is not None:
        return "it is encrypted, and the file holds cipher text"
    return ""


def why_no_flat_file(datastore_kind: str) -> str:
    """Why no disk on a datastore of that kind has one; empty if they have."""
    if datastore_kind in NO_FLAT_FILES:
        return f"it is on {NO_FLAT_FILES[datastore_kind]}, where no flat file exists"
    return ""


def _network_name(backing: Any, portgroups: Mapping[str, str]) -> str:
    port = getattr(backing, "port", None)
    if port is not None:
        key = str(port.portgroupKey or "")
        return unescape(portgroups.get(key, key))
    return unescape(
        str(getattr(backing, "deviceName", None) or getattr(backing, "opaqueNetworkId", None) or "")
    )


def place(disk: Disk) -> str:
    """Where it hangs, as a VM's advanced settings name it: ``scsi0:1``."""
    kind = disk.controller.kind if disk.controller.kind in ("sata", "ide", "nvme") else "scsi"
    return f"{kind}{disk.controller.bus}:{disk.unit}"


def place_in_lease(disk: Any, devices: Sequence[Any]) -> str:
    """Where it hangs, as an export lease names it (importKey, after the VM's name):
    ``ParaVirtualSCSIController0:1``, see `vm_spec`. Raises Unset."""
    controller = next((device for device in devices if device.key == disk.controllerKey), None)
    if controller is None or disk.unitNumber is None:
        raise Unset("controllerKey" if controller is None else "unitNumber", named(disk))
    return f"{_type_name(controller)}{controller.busNumber}:{disk.unitNumber}"


def named(disk: Any) -> str:
    """``disk 2000 (Hard disk 1)``"""
    return f"disk {disk.key} ({_label(disk)})"


def _label(device: Any) -> str:
    info = device.deviceInfo
    return str(info.label) if info is not None and info.label else f"device {device.key}"


def _type_name(value: Any) -> str:
    """``VirtualAHCIController``: the type's name in the API."""
    return type(value).__name__.rpartition(".")[2]


def _has_change_id(backing: Any) -> bool:
    """Virtual Disk Development Kit, "Gathering Changed Block Information"; API reference."""
    disk = _disk_type()
    return isinstance(
        backing,
        (
            disk.FlatVer2BackingInfo,
            disk.SparseVer2BackingInfo,
            disk.SeSparseBackingInfo,
            disk.RawDiskMappingVer1BackingInfo,
            disk.RawDiskVer2BackingInfo,
        ),
    )


def _disk_type() -> Any:
    return _device().VirtualDisk


def _device() -> Any:
    """The namespace of the types of devices."""
    return vmomi.vim.vm.device
