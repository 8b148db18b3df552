"""What tells a VM from others: uuids and MAC addresses. They are new, unless they are to be kept and are
free; what VMs that could not be read have may not be free."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from steps.new_vm.placement import listed
from steps.saved_vm.configuration import Device, text
from steps.vsphere.taken import Taken
from steps.vsphere.vm_spec import Change

VMWARE = "00:50:56:"
"""VMware's prefix: a manual address may have a fourth byte of at most 3f, vCenter gives the others (vSphere
Networking, "MAC Addresses")."""

GENERATED = "00:0c:29:"
"""What an ESXi host generates."""


def uuids(instance: str, bios: str, taken: Taken | None) -> tuple[dict[str, JsonValue], tuple[Change, ...]]:
    """Those that are kept, as properties of ConfigSpec; none where `taken` is None."""
    kept: dict[str, JsonValue] = {}
    changes = []
    for what, key, was, holders in (
        ("instance uuid", "instanceUuid", instance, taken.instance_uuids if taken else {}),
        ("BIOS uuid", "uuid", bios, taken.bios_uuids if taken else {}),
    ):
        if why := _not_kept(was, taken, holders):
            changes.append(_new(what, was, why, warn=taken is not None))
        else:
            kept[key] = was
            changes.append(Change(what=what, was=was, becomes=was, kind="kept"))
    return kept, tuple(changes)


def mac(device: Device, taken: Taken | None) -> tuple[str, Change]:
    """The address that is kept; empty: vCenter gives one."""
    was = text(device.json, "macAddress").lower()
    what = f"MAC address of {device.label[:1].lower()}{device.label[1:]}"
    if why := _not_kept(was, taken, taken.macs if taken else {}):
        return "", _new(what, was, why, warn=True)
    return was, Change(what=what, was=was, becomes=was, kind="kept")


def _new(what: str, was: str, why: str, *, warn: bool) -> Change:
    return Change(what=what, was=was, becomes="a new one", why=why, kind="changed", warn=warn)


def _not_kept(was: str, taken: Taken | None, holders: Mapping[str, str]) -> str:
    """Why not; empty if it is."""
    if taken is None:
        return "no two VMs may share it; `--keep-identity` keeps it where it is free"
    if not was:
        return "none was saved"
    if was.lower() in holders:
        return f"VM {holders[was.lower()]} has it"
    if taken.unread:
        return f"it may not be free: VMs could not be read ({listed(taken.unread)})"
    return ""


def address_type(address: str) -> str:
    """A manual address in VMware's own ranges keeps a VM from being switched on ("conflicts with VMware
    reserved MACs"), and vCenter replaces a generated or assigned one that is foreign to it or taken."""
    if not address or address.startswith(GENERATED):
        return "generated"
    if address.startswith(VMWARE):
        return "manual" if int(address.split(":")[3], 16) <= 0x3F else "assigned"
    return "manual"
