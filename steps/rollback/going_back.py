"""A disk that was written to is put back to the present state, as the restore point of that has it, when a
rollback is discarded."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import asdict

from runner.base.errors import DifferenceError, SendenseError
from runner.step.context import Context
from steps.copy.compare import BlockDifference, compare
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.nbd.image_server import serve
from steps.points.stored import receive_digests
from steps.repository import manifest
from steps.rollback.logs import DiskLogs
from steps.rollback.rewriting import How, Work, rewrite
from steps.source import vm_disk
from steps.source.disk_file import vm_disk_name
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.created_vm import MarkedVm
from steps.values.rollback import RollbackDisk
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing
from steps.vsphere.client import vcenter


class NoWayBack(SendenseError):
    """What was written over is nowhere else."""

    fix_first = True

    def __init__(self, vm: str, source: str, disks: tuple[int, ...]) -> None:
        keys = ", ".join(map(str, disks))
        super().__init__(
            f"{vm} is half rolled back to {source} and cannot be left so: what disk {keys} had before was "
            "not kept (--discard-current); run the same `sendense rollback` again, which finishes it"
        )


class PresentGoneError(SendenseError):
    fix_first = True

    def __init__(self, vm: str, source: str, directory: str) -> None:
        super().__init__(
            f"{vm} is half rolled back to {source} and cannot be left so: {directory}, the restore point of "
            "its state before, is no longer there; bring it back and run the same command again, or restore "
            f"a point as a new VM: sendense restore JOB {source} --to-vcenter VCENTER"
        )


class NotBackError(DifferenceError):
    def __init__(self, vm: str, disk: StoredDisk, difference: BlockDifference) -> None:
        super().__init__(
            f"disk {disk.key} of {vm} was put back to {disk.point} and does not match its digest at offset "
            f"{difference.offset}: run the same command again",
            details={"offset": difference.offset, "disk": disk.key},
        )


def refuse_missing(ctx: Context, vm: MarkedVm, disks: Iterable[RollbackDisk], source: str) -> None:
    """Before anything is written. Raises PresentGoneError, StateError."""
    kept = [disk.present for disk in disks if disk.present is not None]
    for host, directory in sorted({(one.image.host, posixpath.dirname(one.digests)) for one in kept}):
        if manifest.read(ctx.host(host), directory) is None:
            raise PresentGoneError(vm.name, source, directory)


def go_back(
    ctx: Context, vm: MarkedVm, disk: RollbackDisk, present: StoredDisk, host: str, options: VddkOptions
) -> None:
    """Writes what differs, and compares every block of the disk with the digests of `present`. Raises
    NotBackError, and what keeps the disk from being written."""
    logs = DiskLogs(ctx, vm, disk.stored)
    # They tell of what is about to be otherwise: a kill must not leave them.
    logs.forget_written()
    logs.forget_differing()
    # As the disk of the point that is written: its key there may be another.
    wanted = present.model_copy(update={"key": disk.key})
    with ctx.scope():
        images = ctx.host(present.image.host)
        source = serve(ctx, images, present.image, "read-only", connections=1)
        into = _open(ctx, vm, disk.key, host, options)
        # All of it: what differed from the point the last time is not all that was written.
        work = Work(wanted, [(0, present.capacity)], None, None)
        rewrite(ctx, work, source, into, How(label="go back"))
        _compare(ctx, vm, wanted, into)


def _open(ctx: Context, vm: MarkedVm, key: int, host_name: str, options: VddkOptions) -> VmDiskServing:
    host = ctx.host(host_name)
    looked = vm_disk.look(vcenter(ctx, vm.vcenter), vm, vm.disk(key))
    way = vm_disk.way_to_write(ctx, host, vm, key, options)
    return vm_disk.serve(ctx, host, vm, key, looked, way, options, written=True)


def _compare(ctx: Context, vm: MarkedVm, present: StoredDisk, view: VmDiskServing) -> None:
    name = vm_disk_name(present.key, view.file)
    with (
        receive_digests(ctx.host(present.image.host), present, ctx.scratch / "back") as digests,
        NbdEndpoint(view.uris, name, stop=ctx.stop) as endpoint,
    ):
        try:
            compare(
                endpoint,
                digests,
                stop=ctx.stop,
                on_progress=lambda now: ctx.progress(f"disk {present.key}", "verify", **asdict(now)),
            )
        except BlockDifference as difference:
            raise NotBackError(vm.name, present, difference) from difference
