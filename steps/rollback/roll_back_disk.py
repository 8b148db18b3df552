"""roll-back-disk: a VM's disk gets back the blocks that differ from a restore point."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.base.model import HOW, Duration, JobModel, Size
from runner.base.units import MiB
from runner.events.step_report import Cell, Row, StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.rollback import at_rest
from steps.rollback.logs import DiskLogs, NotComparedError
from steps.rollback.rewriting import How, Work, rewrite
from steps.values.created_vm import MarkedVm
from steps.values.rollback import DiskDiffers, RollbackDisk
from steps.values.serving import Serving
from steps.values.vm_disk import VmDiskServing, VmDiskWritten
from steps.vsphere.client import vcenter


class RollBackDiskIn(JobModel):
    disk: RollbackDisk
    """The disk of the restore point, and of that of the present state"""
    differs: DiskDiffers
    """What of the VM's disk differs from it"""
    vm: MarkedVm
    """The VM, with the run's mark"""
    stall_timeout: Annotated[Duration, HOW] = 60.0
    """How long no byte may move before the copy fails (and is tried again)"""
    window: Annotated[Size, HOW, Field(ge=MiB)] = 256 * MiB
    """Bytes that are written but not flushed, at most: what a kill makes us write twice"""


class RollBackDiskLive(JobModel):
    source: Serving
    """The disk in the restore point"""
    into: VmDiskServing
    """The VM's disk, to be written to where anything differs"""


class RollBackDisk(Step[RollBackDiskIn, RollBackDiskLive, VmDiskWritten]):
    """Writes the blocks that differ from a restore point, and of these only the parts of 64 KiB that do. Each
    is read before it is written: the first time, it must still be what was compared. What a FLUSH made safe
    is recorded: an interrupted rollback resumes there, inside the disk."""

    name = "roll-back-disk"
    lifetime = Lifetime.KEEP
    In = RollBackDiskIn
    Live = RollBackDiskLive
    Out = VmDiskWritten
    tools = (nbd.LIBNBD,)
    example = (
        'uses: roll-back-disk, each: {disk: "${{ plan.disks }}"}, with: {disk: "${{ disk }}", '
        'differs: "${{ compare }}", vm: "${{ begin.vm }}", source: "${{ source }}", into: "${{ into }}"}'
    )
    errors = (
        "the restore point is damaged: disk and offset are named, that block is not written (exit 5)",
        "the VM was used since its disk was compared: what it wrote is not written over",
        "a range cannot be read or written: one is enough",
    )

    def check(
        self, ctx: Context, inputs: RollBackDiskIn, recorded: VmDiskWritten | None
    ) -> VmDiskWritten | None:
        if recorded is None:
            return None
        mark = at_rest.own_mark(vcenter(ctx, inputs.vm.vcenter), inputs.vm.moref, ctx.run.id)
        return recorded if mark is not None else None

    def run(self, ctx: Context, inputs: RollBackDiskIn, live: RollBackDiskLive) -> VmDiskWritten:
        disk, file = inputs.disk, live.into.file
        if not inputs.differs.differing:
            return VmDiskWritten(disk_key=disk.key, file=file, written=0, read=0, seconds=0.0)
        ctx.uses("libnbd", nbd.version())
        logs = DiskLogs(ctx, inputs.vm, disk.stored)
        if (ranges := logs.differing()) is None:
            raise NotComparedError(disk.stored)
        # Once anything was written, a block may be half old: it is not what any point has.
        present = disk.present if inputs.differs.kept and not logs.touched else None
        logs.touch()
        how = How(stall_timeout=inputs.stall_timeout, window=inputs.window)
        work = Work(disk.stored, ranges, present, logs.ledger())
        done = rewrite(ctx, work, live.source, live.into, how)
        return VmDiskWritten(
            disk_key=disk.key, file=file, written=done.written, read=done.read, seconds=done.seconds
        )

    def undo(self, ctx: Context, inputs: RollBackDiskIn, out: VmDiskWritten) -> None:
        """What was written is undone by the step that marked the VM. Here nothing is believed any more of
        what the disk has."""
        logs = DiskLogs(ctx, inputs.vm, inputs.disk.stored)
        logs.forget_written()
        logs.forget_differing()

    def report(self, out: VmDiskWritten) -> StepReport:
        cells = {
            "Written": Cell(value=out.written, unit="bytes"),
            "Took": Cell(value=out.seconds, unit="seconds"),
        }
        return StepReport(rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),))
