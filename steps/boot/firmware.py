"""What a machine's firmware is started with."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot import overlays
from steps.efi import gpt, loaders, ovmf
from steps.efi.disk_content import reader
from steps.efi.gpt import Partition
from steps.efi.variable_store import VariableStore
from steps.values.machine import Machine
from steps.vsphere.vm_spec import Change


@dataclass(frozen=True)
class Firmware:
    name: str
    """``BIOS (SeaBIOS)``, ``EFI (OVMF), secure boot``"""
    machine: Machine
    """The machine, as this firmware needs it."""
    arguments: tuple[str, ...] = ()
    """Of QEMU."""


def prepare(ctx: Context, host: Host, machine: Machine, disks: Mapping[int, str], directory: str) -> Firmware:
    """Its variables are a copy in `directory`, which QEMU opens, with entries for what may boot from the
    disks that it tries. `disks` as `steps.boot.request.BootRequest.disks`. Raises OvmfMissing, HostError,
    CommandError, BootError."""
    if machine.firmware == "bios":
        return Firmware("BIOS (SeaBIOS)", machine)
    build = ovmf.find(ctx, host, machine.firmware)
    variables = posixpath.join(directory, "firmware-vars")
    store = VariableStore(ovmf.template(host, build, directory), f"{build.vars} on {host.name}")
    partitions = tuple(_system_partitions(host, machine, disks, directory))
    tried = loaders.to_try(machine.loaders, machine.guest)
    store.add(loaders.entries(tried, partitions))
    host.write(variables, store.content)
    # Who has no build with keys boots without secure boot, and some have none without SMM.
    needed = machine.model_copy(update={"firmware": "efi-secure" if build.smm else "efi"})
    code = {
        "driver": build.format,
        "node-name": "firmware-code",
        "read-only": True,
        "file": {"driver": "file", "filename": build.code, "read-only": True},
    }
    written = {
        "driver": "raw",
        "node-name": "firmware-vars",
        "file": {"driver": "file", "filename": variables},
    }
    nodes = ("-blockdev", json.dumps(code), "-blockdev", json.dumps(written))
    return Firmware(_name(machine, store), needed, nodes)


def changes(ctx: Context, host: Host, machine: Machine) -> tuple[Change, ...]:
    """What the machine's firmware is otherwise on `host`. Raises OvmfMissing, HostError."""
    if machine.firmware != "efi-secure" or ovmf.find(ctx, host, machine.firmware).secure:
        return ()
    why = f"no OVMF of host {host.name} comes with keys"
    return (Change(what="secure boot", was="on", becomes="off", why=why, kind="changed", warn=True),)


def _name(machine: Machine, store: VariableStore) -> str:
    """Of secure boot only what is so: what a build's descriptor says is not asked."""
    if machine.firmware == "efi":
        return "EFI (OVMF)"
    return f"EFI (OVMF), {'secure boot' if store.has_secure_boot else 'without secure boot'}"


def _system_partitions(
    host: Host, machine: Machine, disks: Mapping[int, str], directory: str
) -> Iterator[Partition]:
    """Of the disks that the firmware tries, in their order."""
    tried = [disk for disk in machine.disks if disk.boot is not None]
    for disk in sorted(tried, key=lambda one: one.boot or 0):
        read = reader(host, overlays.source_node(disks[disk.key]), disk.capacity, directory)
        yield from gpt.system_partitions(read, disk.capacity)
