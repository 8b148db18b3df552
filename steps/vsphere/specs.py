"""What a VM is to be (`vm_spec`) as the API's own specs, for CreateVM_Task and for ImportVApp: both take the
same ConfigSpec (Cinder's VMware driver sends one to either).

New devices have negative keys; what every VM has by itself (PCI, IDE, PS/2 and SIO controllers, keyboard,
pointing device) is not in a spec (Virtual Disk Development Kit, "Using the VirtualMachineConfigInfo
Structure"), and what hangs on those names them by their own keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.base.units import KiB
from steps.vsphere import vmomi
from steps.vsphere.configuration import from_json
from steps.vsphere.errors import VSphereError
from steps.vsphere.names import escape
from steps.vsphere.vm_spec import OWN_CONTROLLERS, NewDevice, NewDisk, NewMachine, Unrecorded


def config_spec(machine: NewMachine, name: str, marks: Mapping[str, str], unrecorded: Unrecorded) -> Any:
    """For a VM that is called `name` as long as it has `marks`: advanced settings, by key. Raises
    VSphereError for a device or setting that the API does not have."""
    of: Any = vmomi.vim.vm.ConfigSpec
    spec = of(
        name=escape(name),
        annotation=unrecorded.annotation or None,
        files=_files(machine),
        deviceChange=[
            *(_added(_device(device)) for device in machine.devices),
            *(_added(_disk(disk), create=True) for disk in machine.disks),
        ],
        extraConfig=options({**unrecorded.extra_config, **marks}),
    )
    for key, value in machine.settings.items():
        try:
            setattr(spec, key, from_json(of._GetPropertyInfo(key).type, value, of))
        except (AttributeError, ValueError) as error:
            raise VSphereError(f"the saved setting {key} is none of the API's: {error}") from error
    return spec


def _files(machine: NewMachine) -> Any:
    """The datastore alone: vCenter names the directory, and leaves one that is there alone."""
    of: Any = vmomi.vim.vm.FileInfo
    return of(vmPathName=f"[{machine.datastore}]")


def import_spec(machine: NewMachine, name: str, marks: Mapping[str, str], unrecorded: Unrecorded) -> Any:
    """As `config_spec`, for ResourcePool.ImportVApp. Its other fields are for vApps."""
    of: Any = vmomi.vim.vm.VmImportSpec
    return of(configSpec=config_spec(machine, name, marks, unrecorded))


def options(settings: Mapping[str, str]) -> list[Any]:
    """Advanced settings; an empty value deletes a key (API reference, ConfigSpec.extraConfig)."""
    of: Any = vmomi.vim.option.OptionValue
    return [of(key=key, value=value) for key, value in settings.items()]


def paired(machine: NewMachine, devices: Iterable[Any]) -> dict[int, Any]:
    """The new VM's devices by the keys that they had when they were saved. By their places, never by their
    order: disks that were paired by it were swapped (cloudstack issue 4547). What has none there is left
    out."""
    every = list(devices)
    by_key = {device.key: device for device in every}
    found = {_place(device, by_key): device for device in every}
    saved: tuple[NewDisk | NewDevice, ...] = (*machine.disks, *machine.devices)
    pairs = ((one, found.get(machine.place(one))) for one in saved)
    return {one.key: device for one, device in pairs if device is not None and _is_like(one, device)}


def _is_like(saved: NewDisk | NewDevice, device: Any) -> bool:
    """Where vSphere gave another unit number than was asked for, another device may be at that place."""
    kind = saved.type if isinstance(saved, NewDevice) else "VirtualDisk"
    return type(device).__name__.rpartition(".")[2] == kind


def _place(device: Any, by_key: Mapping[int, Any]) -> str:
    """As `NewMachine.place`."""
    on = by_key.get(device.controllerKey)
    if on is None or device.unitNumber is None:
        return f"key {device.key}"
    return f"{type(on).__name__.rpartition('.')[2]}{getattr(on, 'busNumber', 0)}:{device.unitNumber}"


def _device(device: NewDevice) -> Any:
    kind = getattr(vmomi.vim.vm.device, device.type, None)
    if kind is None:
        raise VSphereError(f"the saved device {device.key} is a {device.type}, which the API does not have")
    try:
        made = from_json(kind, dict(device.properties))
    except ValueError as error:
        raise VSphereError(
            f"the saved device {device.key} ({device.type}) is unlike the API's: {error}"
        ) from error
    made.key = -device.key
    if device.controller is not None:
        made.controllerKey = _controller(device.controller)
        made.unitNumber = device.unit
    return made


def _disk(disk: NewDisk) -> Any:
    of: Any = vmomi.vim.vm.device.VirtualDisk
    return of(
        key=-disk.key,
        controllerKey=_controller(disk.controller),
        unitNumber=disk.unit,
        capacityInBytes=disk.capacity,
        capacityInKB=disk.capacity // KiB,
        backing=of.FlatVer2BackingInfo(
            fileName=f"[{disk.datastore}]",
            diskMode=disk.mode,
            thinProvisioned=disk.thin,
            # With thin it is refused.
            eagerlyScrub=disk.eager if not disk.thin else None,
        ),
    )


def _controller(key: int) -> int:
    return key if key in OWN_CONTROLLERS else -key


def _added(device: Any, *, create: bool = False) -> Any:
    """A disk without fileOperation would be a file that exists (API reference, VirtualDeviceConfigSpec)."""
    of: Any = vmomi.vim.vm.device.VirtualDeviceSpec
    return of(
        operation=of.Operation.add,
        fileOperation=of.FileOperation.create if create else None,
        device=device,
    )
