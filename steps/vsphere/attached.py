"""A disk of a VM as it is attached now, and what the VM is, before the disk is written or read past any
guest."""

from __future__ import annotations

from dataclasses import dataclass

from steps.vsphere import datastores, hardware, marks, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.inventory import FrozenDisk
from steps.vsphere.names import unescape
from steps.vsphere.properties import read
from steps.vsphere.unset import given


class NotReady(VSphereError):
    """The VM or its disk is not as it has to be: the message says what to do."""


@dataclass(frozen=True)
class Attached:
    name: str
    """The VM's, as people write it."""
    instance_uuid: str
    is_off: bool
    """Neither on nor suspended."""
    has_snapshots: bool
    mark: str
    """Value of the mark that was asked for; empty if it has none."""
    disk: FrozenDisk | None
    """Its file is the head of its chain; None if the VM has no such disk."""
    place: str
    """Where it hangs, as an export lease names it."""
    content_id: str
    """Of what is in the disk: another one once something was written to it, right while the VM is off (API
    reference, VirtualDiskFlatVer2BackingInfo.contentId). Empty where vSphere has none."""


def look(client: Client, vm: str, key: int, mark_key: str) -> Attached:
    """`key` is the disk's in the VM. Raises Gone, PermissionMissing, Unset."""
    doing = f"looking at disk {key} of VM {vm}"
    paths = (
        "name",
        "runtime.powerState",
        "snapshot",
        "config.instanceUuid",
        "config.hardware.device",
        path := marks.path_of(mark_key),
    )
    seen = read(client, vmomi.vim.VirtualMachine, vm, paths, doing)
    devices = given(seen, "config.hardware.device", f"VM {vm}")
    found = [device for device in hardware.virtual_disks(devices) if device.key == key]
    disk, place, content = None, "", ""
    if len(found) == 1:
        disk = hardware.frozen(found[0], datastores.of_disks(client, found), tracking=None)
        place = hardware.place_in_lease(found[0], devices)
        content = str(getattr(found[0].backing, "contentId", None) or "")
    return Attached(
        name=unescape(str(seen.get("name", vm))),
        instance_uuid=str(given(seen, "config.instanceUuid", f"VM {vm}")),
        is_off=seen.get("runtime.powerState") == vmomi.vim.VirtualMachine.PowerState.poweredOff,
        has_snapshots="snapshot" in seen,
        mark=str(getattr(seen.get(path), "value", "") or ""),
        disk=disk,
        place=place,
        content_id=content,
    )
