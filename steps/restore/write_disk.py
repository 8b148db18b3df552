"""write-disk: a disk's bytes, from a restore point into the new disk of a VM, through VDDK."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.base.errors import SendenseError
from runner.base.model import HOW, Duration, JobModel, Size
from runner.base.units import MiB
from runner.events.step_report import Cell, Row, StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.engine import Tuning
from steps.points.figures import speed_of
from steps.restore.point_copy import Into, PointDamagedError, copy_out
from steps.restore.vm_disk_ledger import VmDiskLedger
from steps.source import vm_disk
from steps.source.disk_file import vm_disk_name
from steps.values.created_vm import MarkedVm
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing, VmDiskWritten


class WriteDiskIn(JobModel):
    vm: MarkedVm
    """The VM, whose disks are new"""
    disk: StoredDisk
    """The disk of the restore point"""
    stall_timeout: Annotated[Duration, HOW] = 60.0
    """How long no byte may move before the copy fails (and is tried again); how long it takes in all has no
    limit."""
    window: Annotated[Size, HOW, Field(ge=MiB)] = 256 * MiB
    """Bytes that are written but not flushed, at most: what a kill makes us copy twice."""


class WriteDiskLive(JobModel):
    source: Serving
    """The disk in the restore point"""
    into: VmDiskServing
    """The disk of the VM, to be written to"""


class SwappedDisksError(SendenseError):
    """What is served is not what the step was given."""

    def __init__(self, disk: StoredDisk, why: str) -> None:
        super().__init__(f"disk {disk.key} of {disk.point} is to be written, but {why}; nothing was written")


class WriteDisk(Step[WriteDiskIn, WriteDiskLive, VmDiskWritten]):
    """Copies a disk out of a restore point into the disk that was made for it. What reads as zero is not
    written, thin or thick: vSphere zeroes what it makes a disk of before a guest can read it. Every block
    that is read is compared with its digest of the time of the backup. What a FLUSH made safe is recorded: an
    interrupted restore resumes there, inside the disk. A disk that was found to differ afterwards is read
    whole, and what differs is written."""

    name = "write-disk"
    lifetime = Lifetime.KEEP
    In = WriteDiskIn
    Live = WriteDiskLive
    Out = VmDiskWritten
    tools = (nbd.LIBNBD,)
    example = (
        'uses: write-disk, each: {disk: "${{ point.disks }}"}, '
        'with: {vm: "${{ vm }}", disk: "${{ disk }}", source: "${{ source }}", into: "${{ into }}"}'
    )
    errors = (
        "the restore point is damaged: disk and offset are named (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
        "a range cannot be read or written: one is enough",
        "no byte moved for stall-timeout: it says which side it waits for",
        "no space is left on the datastore",
    )

    def check(
        self, ctx: Context, inputs: WriteDiskIn, recorded: VmDiskWritten | None
    ) -> VmDiskWritten | None:
        there = recorded is not None and vm_disk.is_there(ctx, inputs.vm, inputs.disk.key)
        return recorded if there else None

    def run(self, ctx: Context, inputs: WriteDiskIn, live: WriteDiskLive) -> VmDiskWritten:
        disk = inputs.disk
        ctx.uses("libnbd", nbd.version())
        _refuse_swapped(inputs, live)
        ledger = VmDiskLedger(ctx, inputs.vm, disk)
        into = Into(vm_disk_name(disk.key, live.into.file), live.into.uris, live.into.wire)
        tuning = Tuning(stall_timeout=inputs.stall_timeout, window=inputs.window)
        before = sum(one.length for one in ledger.done if one.digests)
        try:
            done = copy_out(
                ctx,
                disk,
                live.source,
                into,
                ledger,
                tuning,
                lambda: "blank" if ledger.is_blank else "anything",
            )
        except PointDamagedError:
            ledger.distrust()
            raise
        return VmDiskWritten(
            disk_key=disk.key,
            file=live.into.file,
            written=before + done.progress.data,
            read=done.progress.read,
            seconds=done.progress.seconds,
        )

    def report(self, out: VmDiskWritten) -> StepReport:
        cells = {
            "Written": Cell(value=out.written, unit="bytes"),
            "File": Cell(value=out.file, detail=True),
            **speed_of(out.seconds, out.read),
        }
        return StepReport(rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),))


def _refuse_swapped(inputs: WriteDiskIn, live: WriteDiskLive) -> None:
    disk, into, made = inputs.disk, live.into, inputs.vm.disk(inputs.disk.key)
    if live.source.image != disk.image:
        raise SwappedDisksError(disk, f"{live.source.image.path} is served")
    if (into.vm, into.disk_key, into.file) != (inputs.vm.moref, disk.key, made.file):
        raise SwappedDisksError(disk, f"{into.file} of VM {into.vm} is open as disk {into.disk_key}")
    if into.read_only:
        raise SwappedDisksError(disk, f"{into.file} is open for reading only")
    for what, size in (("the new disk", made.capacity), ("its export", into.capacity)):
        if size != disk.capacity:
            raise SwappedDisksError(disk, f"it has {disk.capacity} bytes, {what} {size}")
