"""check-vm-disk: the disk of a VM in vSphere has the bytes that were read at the source of the backup."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import DifferenceError
from runner.base.model import HOW, Duration, JobModel
from runner.base.units import counted
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.compare import BlockDifference, Compared, Comparison, compare
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.points.stored import receive_digests
from steps.restore.exported_disk import compare_exported
from steps.restore.vm_disk_ledger import VmDiskLedger
from steps.source import compared_disk, vm_disk
from steps.source.disk_file import vm_disk_name
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskChecked, VmDiskServing, VmDiskWritten
from steps.vsphere import marks
from steps.vsphere.client import vcenter


class CheckVmDiskIn(JobModel):
    vm: MarkedVm
    """The VM"""
    disk: StoredDisk
    """The disk of the restore point that it is to be equal to"""
    written: VmDiskWritten | None = None
    """What was written, where a step before this one did that by itself: it writes again what differs"""
    stall_timeout: Annotated[Duration, HOW] = 60.0
    """How long no byte may move before the comparison fails (and is tried again)."""


class CheckVmDiskLive(JobModel):
    view: VmDiskServing
    """The disk of the VM, to be read"""


class VmDiskDiffersError(DifferenceError):
    """A block that reads back otherwise than it was read at the source: the disk is written again. A VM that
    an import lease made cannot be written to any more, so it is made again."""

    def __init__(self, inputs: CheckVmDiskIn, file: str, difference: BlockDifference) -> None:
        disk = inputs.disk
        imported = inputs.written is None and inputs.vm.mark_key == marks.RESTORE
        self.invalidates = ("vm",) if imported else ("written",)
        again = "makes the VM again" if imported else "writes again what differs"
        super().__init__(
            f"disk {disk.key} of VM {inputs.vm.name} ({file}) does not match its digest at offset "
            f"{difference.offset}: BLAKE3 {difference.expected} was read at the source of {disk.point}, "
            f"{difference.found} is read back; run the same command, which {again}",
            details={"offset": difference.offset, "disk": disk.key},
        )


class CheckVmDisk(Step[CheckVmDiskIn, CheckVmDiskLive, VmDiskChecked]):
    """Compares every block of a VM's disk, as vSphere has it, with the digest that was made when the block
    was read at the source of the backup. It is read by the way that open-vm-disk found: with VDDK, over
    HTTPS, or under an export lease, for which the disks of a VM take turns. What vSphere says was never
    written is not read, but must be zeroes in the point too. The digests file is first compared with the
    digest in the point's manifest."""

    name = "check-vm-disk"
    lifetime = Lifetime.KEEP
    In = CheckVmDiskIn
    Live = CheckVmDiskLive
    Out = VmDiskChecked
    tools = (nbd.LIBNBD,)
    example = (
        'uses: check-vm-disk, each: {disk: "${{ point.disks }}"}, '
        'with: {vm: "${{ vm }}", disk: "${{ disk }}", written: "${{ write }}", view: "${{ view }}"}'
    )
    errors = (
        "a block differs: disk, offset and both digests are named, and the same command writes again what "
        "differs (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
        "the disk cannot be read back to its end",
    )

    def check(
        self, ctx: Context, inputs: CheckVmDiskIn, recorded: VmDiskChecked | None
    ) -> VmDiskChecked | None:
        return compared_disk.still_there(ctx, inputs.vm, inputs.disk.key, recorded)

    def run(self, ctx: Context, inputs: CheckVmDiskIn, live: CheckVmDiskLive) -> VmDiskChecked:
        disk, view = inputs.disk, live.view
        compared_disk.require_view(inputs.vm, disk.key, view)
        ctx.uses("libnbd", nbd.version())
        try:
            compared = _compare(ctx, inputs, view)
        except BlockDifference as difference:
            VmDiskLedger(ctx, inputs.vm, disk).distrust()
            raise VmDiskDiffersError(inputs, view.file, difference) from difference
        return VmDiskChecked(
            disk_key=disk.key,
            file=view.file,
            blocks=compared.compared,
            read=compared.read,
            read_by=view.transport,
            content_id=view.content_id,
            at=datetime.now(UTC),
        )

    def report(self, out: VmDiskChecked) -> StepReport:
        how = vm_disk.IN_WORDS[out.read_by]
        holes = out.blocks - out.read
        never = f" ({counted(holes, 'block')} of them were never written, says vSphere)" if holes else ""
        said = (
            f"Disk {out.disk_key}: all {counted(out.blocks, 'block')} of 1 MiB were read back from vSphere "
            f"{how}{never} and equal the BLAKE3 digests made while reading the source."
        )
        return StepReport(
            rows=(Row(table="Disks", key=str(out.disk_key), cells={"Verified": Cell(value="every block")}),),
            statements=(Statement(about="verified", text=said),),
        )


def _compare(ctx: Context, inputs: CheckVmDiskIn, view: VmDiskServing) -> Comparison:
    disk, vm = inputs.disk, inputs.vm
    name = vm_disk_name(disk.key, view.file)

    def tell(now: Compared) -> None:
        ctx.progress(f"disk {disk.key}", "verify", **asdict(now))

    with receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / "digests") as digests:
        if view.transport == vm_disk.EXPORT:
            client = vcenter(ctx, vm.vcenter)
            seen, _ = vm_disk.look(client, vm, vm.disk(disk.key))
            return compare_exported(ctx, client, vm, seen.place, digests, name, tell)
        with GrowingEndpoint(ctx, view.uris, view.wire, name) as endpoint:

            def progressed(now: Compared) -> None:
                tell(now)
                endpoint.moved(now.read, now.total - now.done)

            return compare(
                endpoint, digests, stop=ctx.stop, stall_timeout=inputs.stall_timeout, on_progress=progressed
            )
