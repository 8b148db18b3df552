"""What a VM may not be, when it is made or reconfigured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steps.lab.simulator.entities import Entity, unescape
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.objects import World
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import fault, invalid_argument, vim

LONGEST_NAME = 80
"""Names are shorter (API reference, ManagedEntity.name)."""


def name(folder: Entity, wanted: str | None, of: Entity | None = None) -> None:
    """Raises InvalidName, DuplicateName. `of`: who has it already."""
    if not wanted or len(wanted) >= LONGEST_NAME:
        raise fault(vim.fault.InvalidName, f"The name '{wanted or ''}' is invalid.", name=wanted or "")
    for one in folder.children:
        if one is not of and unescape(one.name) == unescape(wanted):
            raise fault(
                vim.fault.DuplicateName,
                f"The name '{wanted}' already exists.",
                name=wanted,
                object=one.ref,
            )


def settings(world: World, config: Any, place: Surroundings, *, creating: bool) -> None:
    """Raises InvalidVmConfig, InvalidArgument, VirtualHardwareVersionNotSupported."""
    if config.npivWorldWideNameType or config.npivWorldWideNameOp:
        raise _invalid("npivWorldWideNameType")
    if config.version:
        _version(world, config.version, place)
    if config.firmware not in (None, "bios", "efi"):
        raise invalid_argument("configSpec.firmware")
    if config.numCPUs is not None and config.numCPUs < 1:
        raise invalid_argument("configSpec.numCPUs")
    if config.memoryMB is not None and (config.memoryMB < 4 or config.memoryMB % 4):
        raise invalid_argument("configSpec.memoryMB")
    boot = config.bootOptions
    if (
        config.flags
        and config.flags.vbsEnabled
        and not (boot and boot.efiSecureBootEnabled and config.nestedHVEnabled)
    ):
        raise _invalid("flags.vbsEnabled")
    if creating and boot and any(getattr(one, "deviceKey", None) is not None for one in boot.bootOrder):
        # Its devices have no keys yet (bareos sets it afterwards).
        raise invalid_argument("configSpec.bootOptions.bootOrder")


def _invalid(name: str) -> Exception:
    return fault(vim.fault.InvalidVmConfig, "Invalid virtual machine configuration.", property=name)


def _version(world: World, version: str, place: Surroundings) -> None:
    number = version.removeprefix("vmx-")
    if not number.isdigit() or int(number) < 4:
        raise invalid_argument("configSpec.version")
    if int(number) > world.newest_hardware:
        host: Any = world.find(place.host)
        raise fault(
            vim.fault.VirtualHardwareVersionNotSupported,
            f"The host does not support hardware version {version}.",
            hostName=host.name,
            host=place.host,
        )


def space(world: World, disks: Iterable[DiskSpec], place: Surroundings) -> None:
    """Thin disks take none before they are written. Raises NoDiskSpace."""
    wanted = list(disks)
    for store in {disk.datastore or "" for disk in wanted}:
        needed = sum(disk.size for disk in wanted if disk.datastore == store and not disk.thin)
        if place.datastores[store].free < max(1, needed) or world.faults.hits("no-space"):
            raise no_space(store)


def no_space(store: str) -> Exception:
    return fault(
        vim.fault.NoDiskSpace,
        f"There is not enough space in the datastore {store}.",
        file=f"[{store}]",
        datastore=store,
    )
