"""How a point is to be booted, decided by looking at what was saved with it and at the hosts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from runner.base.errors import StateError
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.tools import ToolMissing
from steps.boot import feasible, firmware
from steps.drill import words
from steps.efi import ovmf
from steps.efi.ovmf import OvmfMissing
from steps.machine.decision import decide
from steps.machine.disks import DiskToBoot
from steps.qemu.system import QEMU_SYSTEM
from steps.repository import layout, manifest, verification_records
from steps.repository.manifest import Manifest
from steps.saved_vm import file, nvram
from steps.saved_vm.configuration import Saved
from steps.values.drill import DrillOptions
from steps.values.machine import Doubt, Firmware
from steps.values.planned_drill import PlannedDrill
from steps.values.stored_point import StoredPoint

LOCAL = "local"
"""The job's word for this machine."""

INSTEAD = "its disks can be served (`sendense serve`) and restored as files, but it cannot be drilled"


def plan(ctx: Context, point: StoredPoint, options: DrillOptions) -> PlannedDrill:
    """Raises StateError for a saved configuration that is missing or damaged and for a damaged record of an
    earlier drill, BootError for what cannot be had of its machine, ToolMissing and OvmfMissing where no host
    can boot it, HostError."""
    there = ctx.host(point.host)
    made = manifest.read(there, point.path)
    if made is None:
        raise StateError(f"{point.path} on {there.name} has no manifest any longer: it is being deleted")
    if not options.expect:
        ctx.warn(f"of {_source(point)} {words.NOTHING_EXPECTED}")
    # Not only when this drill is to be recorded, after twenty minutes.
    verification_records.drill(there, point.path)
    saved = file.read(there, posixpath.join(point.path, layout.VM_FILES, made.config), INSTEAD)
    disks = [DiskToBoot(disk.key, disk.label, disk.capacity) for disk in point.disks]
    machine = decide(saved, disks, options.limits, _loaders(there, point, made, saved))
    feasible.check(machine, options.expected, options.limits, options.guest_address)
    host, why = _host(ctx, options.host, point.host, machine.firmware)
    changes = (*machine.changes, *firmware.changes(ctx, ctx.host(host), machine))
    doubts = (*machine.doubts, *_not_asked_for(point, made))
    machine = machine.model_copy(update={"changes": changes, "doubts": doubts})
    return PlannedDrill(
        source=_source(point),
        point=point,
        machine=machine,
        host=host,
        host_why=why,
        expect=options.expected,
        within=options.within,
        limits=options.limits,
        accelerator=options.accelerator,
        guest_address=options.guest_address,
    )


def _source(point: StoredPoint) -> str:
    return f"{layout.slug_of(posixpath.dirname(point.path))}/{point.point}"


def _not_asked_for(point: StoredPoint, made: Manifest) -> Iterator[Doubt]:
    """Of the disks that the restore point has."""
    asked = {disk.key for disk in point.disks}
    for disk in made.disks:
        if disk.key not in asked:
            why = f"{disk.label} was left out, as it was asked for: drill it with all its disks"
            yield Doubt(kind="disk", why=why)


def _loaders(there: Host, point: StoredPoint, made: Manifest, saved: Saved) -> tuple[str, ...]:
    """Of a VM with EFI, what its NVRAM names. Raises StateError for one that is missing."""
    if saved.firmware != "efi" or made.nvram is None:
        return ()
    return nvram.loaders(nvram.read(there, posixpath.join(point.path, layout.VM_FILES, made.nvram), INSTEAD))


def _host(ctx: Context, told: str | None, repository_host: str, needed: Firmware) -> tuple[str, str]:
    """Where it is booted, and why there."""
    if told is not None:
        _require(ctx, ctx.host(told), needed)
        return told, ""
    try:
        _require(ctx, ctx.host(repository_host), needed)
        return repository_host, "the repository is there"
    except (ToolMissing, OvmfMissing) as missing:
        if ctx.host(repository_host).local:
            raise
        try:
            _require(ctx, ctx.host(LOCAL), needed)
        except (ToolMissing, OvmfMissing) as here:
            here.add(f"nor can the repository host boot it: {missing.message}")
            raise
        return LOCAL, missing.message


def _require(ctx: Context, host: Host, needed: Firmware) -> None:
    """Raises ToolMissing, OvmfMissing."""
    QEMU_SYSTEM.require(ctx, host)
    if needed != "bios":
        ovmf.find(ctx, host, needed)
