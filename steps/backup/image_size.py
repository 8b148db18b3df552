"""How large the image of a disk will be, as far as that can be told before the disk is read."""

from __future__ import annotations

from dataclasses import dataclass

from runner.base.units import MiB, human_bytes
from runner.hosts.host import Host
from runner.step.context import Context
from steps.repository import reader
from steps.repository.manifest import PointDisk
from steps.values.base import Base
from steps.vsphere.allocated import allocated
from steps.vsphere.client import vcenter
from steps.vsphere.inventory import VM, Disk


@dataclass(frozen=True)
class Bounds:
    """In bytes. `why` says what they rest on."""

    least: int
    most: int
    why: str


def bounds(ctx: Context, host: Host, directory: str | None, vm: VM, disk: Disk, base: Base | None) -> Bounds:
    """`directory` is the VM's in the repository, None if it has none yet. A full holds what the disk has that
    is not zero: of a thin disk at most what is allocated, of a thick one it is unknown, unless the last point
    tells. An incremental holds what changed: as tracking says, else perhaps as much as the last time. Raises
    SendenseError where the vCenter does not answer."""
    last = None if directory is None else _last(ctx, host, directory, disk)
    if base is None or base.parent is None:
        return _of_full(ctx, vm, disk, last)
    if base.changed is not None:
        changed = min(base.changed, disk.capacity)
        return Bounds(changed, changed, f"{human_bytes(changed)} may have changed")
    if last is not None and last.parent is not None:
        before = min(last.written * MiB, disk.capacity)
        return Bounds(
            0, before, f"how much changed is not known yet; the last incremental took {human_bytes(before)}"
        )
    return Bounds(0, disk.capacity, f"how much of its {human_bytes(disk.capacity)} changed is not known yet")


def _of_full(ctx: Context, vm: VM, disk: Disk, last: PointDisk | None) -> Bounds:
    whole = human_bytes(disk.capacity)
    if disk.thin:
        key = ("allocated", vm.vcenter, vm.moref)
        taken = ctx.looked(key, lambda: allocated(vcenter(ctx, vm.vcenter), vm.moref))
        if disk.key in taken:
            least = min(taken[disk.key], disk.capacity)
            return Bounds(least, disk.capacity, f"{human_bytes(least)} of {whole} allocated, thin")
    if last is not None:
        return Bounds(
            min(last.data, disk.capacity),
            disk.capacity,
            f"{human_bytes(last.data)} of {whole} in use at the last point",
        )
    kind = "thin" if disk.thin else "thick"
    return Bounds(
        0, disk.capacity, (f"{whole}, {kind}: how much of it is in use is not known before it is read")
    )


def _last(ctx: Context, host: Host, directory: str, disk: Disk) -> PointDisk | None:
    """The disk in the VM's newest point, if that has it."""

    def read() -> tuple[PointDisk, ...]:
        # What cannot be read is told by what must know it.
        entries = reader.read(host, directory).entries
        return entries[-1].manifest.disks if entries else ()

    found = ctx.looked(("disks of the newest point", host.name, directory), read)
    return next((one for one in found if (one.key, one.backing_uuid) == (disk.key, disk.backing_uuid)), None)
