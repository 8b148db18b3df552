"""One VM as values: what it is, which disks it has, and whether a snapshot can be taken of it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.base.units import MiB
from steps.vsphere import datastores, hardware, marks, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, SnapshotRefused, VSphereError
from steps.vsphere.find import locate
from steps.vsphere.inventory import VM, Disk, Network, Uncovered
from steps.vsphere.names import DatastoreFile, unescape
from steps.vsphere.properties import Properties, read, read_many
from steps.vsphere.unset import given

STATE = (
    "name",
    "config.template",
    "config.flags",
    "runtime.connectionState",
    "runtime.question",
    "runtime.faultToleranceState",
    "runtime.consolidationNeeded",
    *(marks.path_of(key) for key in (marks.RESTORE, marks.ROLLBACK)),
)


@dataclass(frozen=True)
class Machine:
    vm: VM
    disks: tuple[Disk, ...]
    uncovered: tuple[Uncovered, ...]
    change_tracking: bool
    encrypted: bool = False
    """It, or a disk of it: what is read of its disks is plain text (Virtual Disk Development Kit, "Encrypted
    VM Backup and Restore")."""


@dataclass(frozen=True)
class Identity:
    """What a moref stands for; a VM that was unregistered and registered again has another."""

    vcenter_uuid: str
    instance_uuid: str


_CONFIGURATION = (
    "config.hardware.device",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.changeTrackingEnabled",
    "config.instanceUuid",
    "config.uuid",
    "config.firmware",
    "config.guestFullName",
    "config.guestId",
    "config.keyId",
    "config.version",
    "config.files.vmPathName",
)
"""Not all of it: guests are given passwords in its advanced settings."""

DESCRIPTION = ("name", "network", "runtime.connectionState", *_CONFIGURATION)


def describe(client: Client, moref: str) -> Machine:
    """Raises Gone, PermissionMissing, VSphereError if its configuration cannot be read now."""
    return client.recall(("description of", moref), lambda: _describe(client, moref))


def _describe(client: Client, moref: str) -> Machine:
    doing = f"reading the configuration of VM {moref}"
    seen = read(client, vmomi.vim.VirtualMachine, moref, DESCRIPTION, doing)
    if not any(path in seen for path in _CONFIGURATION):
        state = seen.get("runtime.connectionState", "unknown")
        raise VSphereError(
            f"{doing} failed: vCenter has none (connection state {state}): its files are out of reach or it "
            "is being made"
        )
    tracking = bool(seen.get("config.changeTrackingEnabled"))
    devices = given(seen, "config.hardware.device", f"VM {moref}")
    covered, uncovered = hardware.disks(devices, datastores.of_disks(client, devices), tracking=tracking)
    return Machine(
        _vm(client, moref, seen, devices),
        covered,
        uncovered,
        tracking,
        encrypted=seen.get("config.keyId") is not None or hardware.encrypted(devices),
    )


def identity(client: Client, moref: str) -> Identity | None:
    """None if there is no such VM (any longer)."""
    try:
        seen = read(
            client,
            vmomi.vim.VirtualMachine,
            moref,
            ("config.instanceUuid",),
            f"looking whether VM {moref} is still there",
        )
    except Gone:
        return None
    return Identity(client.uuid, str(seen.get("config.instanceUuid", "")))


def refuse_unless_ready(client: Client, moref: str) -> None:
    """Raises SnapshotRefused with the reason why no snapshot can be taken of the VM, before it is tried."""
    name, why = readiness(client, moref)
    if why:
        raise SnapshotRefused(f"no snapshot can be taken of {name}: {why}")


def readiness(client: Client, moref: str) -> tuple[str, str]:
    """The VM's name, and why no snapshot can be taken of it; empty if one can."""
    return client.recall(("readiness of", moref), lambda: _readiness(client, moref))


def _readiness(client: Client, moref: str) -> tuple[str, str]:
    doing = f"looking whether VM {moref} can be snapshotted"
    seen = read(client, vmomi.vim.VirtualMachine, moref, STATE, doing)
    return unescape(str(seen.get("name", moref))), _why_not(seen) or _unfinished(seen)


def state_of(client: Client, moref: str) -> tuple[str, str]:
    """As `readiness`, of a VM that may be half restored or half rolled back."""
    doing = f"looking at the state of VM {moref}"
    seen = read(client, vmomi.vim.VirtualMachine, moref, STATE, doing)
    return unescape(str(seen.get("name", moref))), _why_not(seen)


def consolidation_needed(client: Client, moref: str) -> bool:
    """Snapshots were deleted whose disks are not merged: the live disk still depends on their files."""
    doing = f"looking whether VM {moref} needs consolidation"
    seen = read(client, vmomi.vim.VirtualMachine, moref, ("runtime.consolidationNeeded",), doing)
    return bool(seen.get("runtime.consolidationNeeded"))


def powered_on(client: Client, moref: str) -> bool:
    doing = f"looking whether VM {moref} runs"
    seen = read(client, vmomi.vim.VirtualMachine, moref, ("runtime.powerState",), doing)
    return bool(seen.get("runtime.powerState") == vmomi.vim.VirtualMachine.PowerState.poweredOn)


def vmx_file(client: Client, moref: str) -> DatastoreFile:
    """``[ds] dir/name.vmx``. Raises Unset."""
    doing = f"looking for the configuration file of VM {moref}"
    seen = read(client, vmomi.vim.VirtualMachine, moref, ("config.files.vmPathName",), doing)
    return datastores.file_of(client, moref, str(given(seen, "config.files.vmPathName", f"VM {moref}")))


def esxi_host(client: Client, moref: str) -> str:
    """The name of the ESXi host that has the VM now; its moref where the account may not read the name."""
    doing = f"looking which ESXi host has VM {moref}"
    host = read(client, vmomi.vim.VirtualMachine, moref, ("runtime.host",), doing).get("runtime.host")
    if host is None:
        raise VSphereError(
            f"{doing} failed: no host has it; it may be moving, or its host may be disconnected"
        )
    named = read_many(client, vmomi.vim.HostSystem, (host._moId,), ("name",), doing)
    return str(named.get(host._moId, {}).get("name", host._moId))


def delta_files(client: Client, moref: str) -> tuple[str, ...]:
    """Files of the live disks that depend on another file."""
    doing = f"reading the disk files of VM {moref}"
    seen = read(client, vmomi.vim.VirtualMachine, moref, ("config.hardware.device",), doing)
    backings = [disk.backing for disk in hardware.virtual_disks(seen.get("config.hardware.device", ()))]
    return tuple(
        str(backing.fileName) for backing in backings if getattr(backing, "parent", None) is not None
    )


def _why_not(seen: Properties) -> str:
    flags = seen.get("config.flags")
    if seen.get("config.template"):
        return "it is a template, which vSphere never snapshots; convert it to a VM, or back up a clone"
    state = seen.get("runtime.connectionState", "connected")
    if state != "connected":
        return f"it is {state} in vCenter; bring its host and datastores back"
    question = seen.get("runtime.question")
    if question is not None:
        return f"it waits for an answer in vSphere: {question.text}"
    if flags is not None and flags.snapshotDisabled:
        return "snapshots are switched off for it; allow them in vSphere"
    if flags is not None and flags.snapshotLocked:
        return "its snapshots are locked; unlock them in vSphere"
    if seen.get("runtime.faultToleranceState", "notConfigured") != "notConfigured":
        return "it is protected by fault tolerance, which excludes snapshots"
    if seen.get("runtime.consolidationNeeded"):
        return (
            "its disks need consolidation, and a snapshot taken meanwhile can damage a copy; consolidate "
            "them first"
        )
    return ""


def _unfinished(seen: Properties) -> str:
    """A backup of what is half old is no moment that the VM ever had."""
    for key, what in ((marks.RESTORE, "it is half restored"), (marks.ROLLBACK, "it is half rolled back")):
        if value := marks.value_in(seen, marks.path_of(key)):
            mark = marks.read_mark(value)
            if mark is not None and key == marks.RESTORE and mark.run not in str(seen.get("name", "")):
                return (
                    f"it says that it is half restored by {mark.told}, but its name does not, as of a copy: "
                    f"if it is one, delete its advanced setting {key} in vSphere"
                )
            whose = f"by {mark.told}" if mark is not None else f"as its advanced setting {key} says"
            return f"{what} {whose}: resume that run, or discard it with `sendense sweep JOB --abandon RUN`"
    return ""


def _vm(client: Client, moref: str, seen: Properties, devices: Sequence[Any]) -> VM:
    place = locate(client, moref)

    def text(path: str) -> str:
        return str(seen.get(path) or "")

    return VM(
        vcenter=client.name,
        vcenter_uuid=client.uuid,
        moref=moref,
        name=unescape(str(given(seen, "name", f"VM {moref}"))),
        inventory_path=place.path,
        instance_uuid=text("config.instanceUuid"),
        bios_uuid=text("config.uuid"),
        datacenter=place.datacenter,
        firmware=text("config.firmware") or "bios",
        cpus=int(seen.get("config.hardware.numCPU", 0)),
        memory=int(seen.get("config.hardware.memoryMB", 0)) * MiB,
        guest=text("config.guestFullName") or text("config.guestId"),
        hardware_version=text("config.version"),
        vmx_file=text("config.files.vmPathName"),
        networks=_networks(client, devices, seen.get("network") or ()),
    )


def _networks(client: Client, devices: Sequence[Any], connected: Sequence[Any]) -> tuple[Network, ...]:
    kind = vmomi.vim.dvs.DistributedVirtualPortgroup
    distributed = [net._moId for net in connected if isinstance(net, kind)]
    groups = read_many(client, kind, distributed, ("key", "name"), "reading the names of port groups")
    names = {
        str(group["key"]): str(group["name"]) for group in groups.values() if group.keys() >= {"key", "name"}
    }
    return hardware.networks(devices, names)
