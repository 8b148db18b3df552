"""check-tracked-disk: of a disk that was put back with the help of tracking, what may have changed is
compared again, and a sample."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from runner.base.errors import DifferenceError
from runner.base.model import JobModel, Percent
from runner.base.units import counted
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.compare import BlockDifference, compare
from steps.copy.extents import BLOCK
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.points.stored import receive_digests
from steps.rollback import tracked
from steps.rollback.logs import DiskLogs, Marked, NotComparedError
from steps.source import compared_disk
from steps.source.disk_file import vm_disk_name
from steps.values.created_vm import MarkedVm
from steps.values.rollback import DiskDiffers, RollbackDisk
from steps.values.vm_disk import VmDiskChecked, VmDiskServing, VmDiskWritten
from steps.vsphere.errors import TrackingError


class CheckTrackedDiskIn(JobModel):
    disk: RollbackDisk
    """The disk of the restore point"""
    vm: MarkedVm
    """The VM, with the run's mark"""
    differs: DiskDiffers
    """What of it differed"""
    written: VmDiskWritten
    """What was written"""
    sample: Percent | None = None
    """How much of what tracking calls unchanged is compared: as for compare-vm-disk"""


class CheckTrackedDiskLive(JobModel):
    view: VmDiskServing
    """The VM's disk, to be read"""


class NotPutBackError(DifferenceError):
    """The disk is compared and written again, and then nothing of it is left to tracking."""

    invalidates = ("written",)

    def __init__(self, inputs: CheckTrackedDiskIn, difference: BlockDifference) -> None:
        key, vm = inputs.disk.key, inputs.vm.name
        super().__init__(
            f"disk {key} of VM {vm} does not match its digest at offset {difference.offset}: BLAKE3 "
            f"{difference.expected} was read at the source of {inputs.disk.stored.point}, {difference.found} "
            "is read back; run the same command, which compares every block and writes again what differs",
            details={"offset": difference.offset, "disk": key},
        )


class CheckTrackedDisk(Step[CheckTrackedDiskIn, CheckTrackedDiskLive, VmDiskChecked]):
    """Compares again what was written to a VM's disk and what changed block tracking names by now, and a
    sample of the rest: another one than before the disk was written. Where tracking cannot say any more what
    changed, and where the disk was compared whole, every block is compared."""

    name = "check-tracked-disk"
    lifetime = Lifetime.KEEP
    In = CheckTrackedDiskIn
    Live = CheckTrackedDiskLive
    Out = VmDiskChecked
    tools = (nbd.LIBNBD,)
    example = (
        'uses: check-tracked-disk, each: {disk: "${{ plan.disks }}"}, with: {disk: "${{ disk }}", '
        'vm: "${{ begin.vm }}", differs: "${{ compare }}", written: "${{ write }}", view: "${{ view }}"}'
    )
    errors = (
        "a block differs: disk, offset and both digests are named, and the same command compares every block "
        "and writes again what differs (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
    )

    def check(
        self, ctx: Context, inputs: CheckTrackedDiskIn, recorded: VmDiskChecked | None
    ) -> VmDiskChecked | None:
        return compared_disk.still_there(ctx, inputs.vm, inputs.disk.key, recorded)

    def run(self, ctx: Context, inputs: CheckTrackedDiskIn, live: CheckTrackedDiskLive) -> VmDiskChecked:
        stored, view = inputs.disk.stored, live.view
        compared_disk.require_view(inputs.vm, stored.key, view)
        ctx.uses("libnbd", nbd.version())
        logs, name = DiskLogs(ctx, inputs.vm, stored), vm_disk_name(stored.key, view.file)
        ranges = _ranges(ctx, inputs, logs)
        with (
            receive_digests(ctx.host(stored.image.host), stored, ctx.scratch / "digests") as digests,
            GrowingEndpoint(ctx, view.uris, view.wire, name) as endpoint,
        ):
            try:
                compared = compare(
                    endpoint,
                    digests,
                    stop=ctx.stop,
                    ranges=ranges,
                    on_progress=lambda now: ctx.progress(f"disk {stored.key}", "verify", **asdict(now)),
                )
            except BlockDifference as difference:
                logs.forget_written()
                raise NotPutBackError(inputs, difference) from difference
        return VmDiskChecked(
            disk_key=stored.key,
            file=view.file,
            blocks=compared.compared,
            read=compared.read,
            read_by=view.transport,
            content_id=view.content_id,
            at=datetime.now(UTC),
            whole=compared.compared == compared.blocks,
        )

    def report(self, out: VmDiskChecked) -> StepReport:
        which = "every block" if out.whole else "changed blocks and a sample"
        trusted = "" if out.whole else "; of the others changed block tracking says that they did not change"
        said = (
            f"Disk {out.disk_key}: {which} ({counted(out.blocks, 'block')} of 1 MiB) read back from vSphere "
            f"and equal the BLAKE3 digests made while reading the source{trusted}."
        )
        cells = {"Verified": Cell(value=which)}
        return StepReport(
            rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),),
            statements=(Statement(about="verified", text=said),),
        )


def _ranges(ctx: Context, inputs: CheckTrackedDiskIn, logs: DiskLogs) -> list[tuple[int, int]] | None:
    """Runs of blocks to be compared, in order; None for all."""
    stored = inputs.disk.stored
    if inputs.differs.changed is None:
        return None
    try:
        # Asked again: the VM may have been used since, which need not have been where it differed.
        changes = tracked.since(ctx, inputs.vm, stored)
    except TrackingError as error:
        ctx.warn(f"every block of disk {stored.key} is compared: {error.message}")
        return None
    if (differed := logs.differing()) is None:
        raise NotComparedError(stored)
    named = Marked(stored.capacity)
    for start, length in (*changes.blocks(), *differed):
        for offset in range(start, start + length, BLOCK):
            named.add(offset)
    runs = list(named.runs())
    # Another sample than the first.
    others = tracked.sample(runs, stored.capacity, inputs.sample, f"{ctx.run.id} {stored.key} again")
    return sorted((*runs, *others))
