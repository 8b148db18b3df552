"""The last changes to a VM whose disks were restored and compared: what its firmware needs, tracking, its
name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.vsphere import cbt, datastores, specs, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.names import DatastoreFile, escape
from steps.vsphere.properties import read
from steps.vsphere.reconfigure import reconfigure
from steps.vsphere.unset import given
from steps.vsphere.vm_spec import NewMachine

_UUIDS = {
    "config.instanceUuid": ("instanceUuid", "instance uuid"),
    "config.uuid": ("uuid", "BIOS uuid"),
}
"""Of ConfigInfo: what ConfigSpec calls them, and what people do."""

_NVRAM = 'config.extraConfig["nvram"]'


def put_nvram(client: Client, vm: str, datacenter: str, content: bytes) -> DatastoreFile:
    """Before the VM is switched on for the first time: the firmware makes one of its own only where there is
    none (Bareos puts it there so too). `datacenter` is an inventory path. Raises VSphereError if it does not
    read back as it was written, Gone, PermissionMissing."""
    doing = f"looking where the NVRAM of VM {vm} belongs"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("config.files.vmPathName", _NVRAM), doing)
    vmx = datastores.file_of(client, vm, str(given(seen, "config.files.vmPathName", f"VM {vm}")))
    directory, _, name = vmx.path.rpartition("/")
    chosen = str(getattr(seen.get(_NVRAM), "value", "") or f"{name.removesuffix('.vmx')}.nvram")
    file = DatastoreFile(vmx.datastore, f"{directory}/{chosen}" if directory else chosen)
    client.upload(datacenter, file, content)
    if client.download(datacenter, file) != content:
        raise VSphereError(f"{file} does not read back as it was written: run again")
    return file


def set_up(client: Client, vm: str, machine: NewMachine) -> tuple[str, ...]:
    """Boot order and changed block tracking, of a VM that is off. What could not be done, in sentences.
    Raises Gone, Busy, PermissionMissing."""
    doing = f"setting up VM {vm}"
    paths = ("config.hardware.device", *_UUIDS)
    seen = read(client, vmomi.vim.VirtualMachine, vm, paths, doing)
    devices = specs.paired(machine, seen.get("config.hardware.device") or ())
    lost = tuple(
        f"the boot order of {machine.name} lacks a device that vSphere put elsewhere (saved as {key})"
        for _, key in machine.boot_order
        if key is not None and key not in devices
    )
    order = [
        _bootable(kind, key, devices) for kind, key in machine.boot_order if key is None or key in devices
    ]
    boot: Any = vmomi.vim.vm.BootOptions
    wanted = {"bootOptions": boot(bootOrder=order)} if order else {}
    # It is not known to see what VDDK or an import writes: only from here on it is believed.
    if cbt.is_on(client, vm):
        cbt.disable(client, vm)
    reconfigure(client, vm, doing, changeTrackingEnabled=machine.change_tracking, **wanted)
    return (*lost, *_other_uuids(machine, seen), *_other_addresses(machine, devices))


def _bootable(kind: str, key: int | None, devices: Mapping[int, Any]) -> Any:
    of: Any = vmomi.vim.vm.BootOptions
    match kind:
        case "disk":
            return of.BootableDiskDevice(deviceKey=devices[key or 0].key)
        case "ethernet":
            return of.BootableEthernetDevice(deviceKey=devices[key or 0].key)
        case "cdrom":
            return of.BootableCdromDevice()
        case _:
            return of.BootableFloppyDevice()


def _other_uuids(machine: NewMachine, seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that were free when the restore was planned, and that another VM got since."""
    return tuple(
        f"{machine.name} has the {what} {found} instead of {wanted}, which vCenter did not accept"
        for path, (of_spec, what) in _UUIDS.items()
        if (wanted := machine.settings.get(of_spec)) is not None
        and (found := str(seen.get(path) or "")).lower() != str(wanted).lower()
    )


def _other_addresses(machine: NewMachine, devices: Mapping[int, Any]) -> tuple[str, ...]:
    """MAC addresses that vCenter replaced, as it does with those that are not its own or taken (API
    reference, VirtualEthernetCard.addressType)."""
    return tuple(
        f"a network adapter of {machine.name} has the MAC address {found.macAddress} instead of {wanted}, "
        "which vCenter did not accept"
        for device in machine.devices
        if (wanted := device.properties.get("macAddress")) is not None
        and (found := devices.get(device.key)) is not None
        and str(found.macAddress).lower() != wanted
    )


def release(client: Client, vm: str, name: str, mark: str) -> None:
    """The VM gets its name, and loses the mark with that key: both or neither, since a reconfiguration is all
    or nothing. Raises VSphereError where the name is taken by now, Gone, Busy, PermissionMissing."""
    doing = f"giving VM {vm} the name {name}"
    reconfigure(client, vm, doing, name=escape(name), extraConfig=specs.options({mark: ""}))
