"""compare-vm-disk: which blocks of a VM's disk are not what a restore point has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from runner.base.model import JobModel, Percent
from runner.base.units import human_bytes
from runner.events.check_results import observe
from runner.events.step_report import Cell, Row, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.changes import Changes
from steps.copy.compare import Compared
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.points.stored import receive_digests
from steps.rollback import at_rest, tracked
from steps.rollback.comparison import Trusted, Wanted, differing
from steps.rollback.logs import DiskLogs
from steps.source import compared_disk
from steps.source.disk_file import vm_disk_name
from steps.values.created_vm import MarkedVm
from steps.values.rollback import DiskDiffers, RollbackDisk
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing
from steps.vsphere.client import vcenter
from steps.vsphere.errors import TrackingError

READ_ALL = "without --trust-tracking every block is compared"


class CompareVmDiskIn(JobModel):
    disk: RollbackDisk
    """The disk of the restore point, and of that of the present state"""
    vm: MarkedVm
    """The VM that has it"""
    trust_tracking: bool = False
    """Whether to compare only what changed block tracking names since the restore point, and a sample; else
    every block is"""
    sample: Percent | None = None
    """How much of what tracking calls unchanged is compared all the same: a percentage of its blocks, at
    least 64 of them. Without it 0.5 %, at most 4096"""


class CompareVmDiskLive(JobModel):
    view: VmDiskServing
    """The VM's disk, read-only"""


class CompareVmDisk(Step[CompareVmDiskIn, CompareVmDiskLive, DiskDiffers]):
    """Reads the VM's disk and compares every block with the digest that was made at the backup. What differs
    is recorded with the run; nothing is written.

    Where the present state is kept as a restore point, every block is compared with that too: what the VM has
    and the restore point has not would be lost. With `trust-tracking` only the blocks that changed block
    tracking names since the restore point are compared, and a sample of the others, which must not differ. A
    disk that is compared again after the run began to write is compared whole."""

    name = "compare-vm-disk"
    lifetime = Lifetime.KEEP
    In = CompareVmDiskIn
    Live = CompareVmDiskLive
    Out = DiskDiffers
    tools = (nbd.LIBNBD,)
    example = (
        'uses: compare-vm-disk, each: {disk: "${{ plan.disks }}"}, '
        'with: {disk: "${{ disk }}", vm: "${{ plan.machine }}", view: "${{ live }}"}'
    )
    errors = (
        "the VM was used after its present state was kept (nothing is written)",
        "with trust-tracking: tracking cannot tell what changed since the restore point, or missed a write "
        "(exit 5; nothing is written)",
        "the point's digests file is not the one that its manifest names (exit 5)",
    )

    def check(
        self, ctx: Context, inputs: CompareVmDiskIn, recorded: DiskDiffers | None
    ) -> DiskDiffers | None:
        if recorded is None:
            return None
        kept = DiskLogs(ctx, inputs.vm, inputs.disk.stored).differing()
        blocks = None if kept is None else sum(-(-length // BLOCK) for _, length in kept)
        return recorded if blocks == recorded.differing else None

    def run(self, ctx: Context, inputs: CompareVmDiskIn, live: CompareVmDiskLive) -> DiskDiffers:
        stored, view = inputs.disk.stored, live.view
        compared_disk.require_view(inputs.vm, stored.key, view)
        ctx.uses("libnbd", nbd.version())
        logs = DiskLogs(ctx, inputs.vm, stored)
        # Once the run has begun, a disk may be half old: it is not what any point has, and what tracking says
        # of it was found wrong, or it would not be compared again.
        strictly = not logs.touched and not _is_marked(ctx, inputs)
        changes = _changes(ctx, inputs) if inputs.trust_tracking and strictly else None
        last: list[Compared] = []

        def progressed(now: Compared) -> None:
            last[:] = [now]
            ctx.progress(f"disk {stored.key}", "compare", **asdict(now))
            endpoint.moved(now.read, now.total - now.done)

        with (
            _wanted(ctx, inputs, strictly=strictly) as wanted,
            GrowingEndpoint(ctx, view.uris, view.wire, vm_disk_name(stored.key, view.file)) as endpoint,
        ):
            found, compared = differing(
                stored.key,
                endpoint,
                wanted,
                None if changes is None else _trusted(ctx, inputs, changes),
                stop=ctx.stop,
                on_progress=progressed,
            )
        logs.keep_differing(found.runs())
        return DiskDiffers(
            disk_key=stored.key,
            blocks=-(-stored.capacity // BLOCK),
            compared=compared,
            differing=found.count,
            mode="write" if found.count else "read",
            kept=wanted.present is not None,
            changed=None if changes is None else changes.size,
            seconds=last[0].seconds if last else 0.0,
        )

    def undo(self, ctx: Context, inputs: CompareVmDiskIn, out: DiskDiffers) -> None:
        DiskLogs(ctx, inputs.vm, inputs.disk.stored).forget_differing()

    def preflight(
        self, ctx: Context | None, known: Known[CompareVmDiskIn, DiskDiffers]
    ) -> Preflight[DiskDiffers]:
        if known.inputs is None or ctx is None or known.out is not None:
            return Preflight()
        inputs = known.inputs
        stored = inputs.disk.stored
        if not inputs.trust_tracking or _is_marked(ctx, inputs):
            note = "every block is compared with the restore point's digests"
            return Preflight(notes=(note,), size=stored.capacity)
        seen = observe(
            f"disk {stored.key}",
            "what changed since the restore point",
            lambda: f"{human_bytes(_changes(ctx, inputs).size)} may have changed since {stored.point}",
        )
        return Preflight(observations=(seen,), notes=() if seen.state == "wrong" else (seen.found,))

    def report(self, out: DiskDiffers) -> StepReport:
        cells = {
            "Blocks compared": Cell(value=out.compared, unit="count"),
            "Blocks that differ": Cell(value=out.differing, unit="count"),
        }
        return StepReport(rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),))


def _is_marked(ctx: Context, inputs: CompareVmDiskIn) -> bool:
    """By this run, which may have written to the VM then."""
    client = vcenter(ctx, inputs.vm.vcenter)
    return at_rest.own_mark(client, inputs.vm.moref, ctx.run.id) is not None


@contextmanager
def _wanted(ctx: Context, inputs: CompareVmDiskIn, *, strictly: bool) -> Iterator[Wanted]:
    """`strictly`: the disk must be what the restore point of the present state has."""
    with ExitStack() as stack:

        def digests(disk: StoredDisk, name: str) -> Digests:
            local = ctx.scratch / f"{name}-{disk.key}"
            return stack.enter_context(receive_digests(ctx.host(disk.image.host), disk, local))

        point = digests(inputs.disk.stored, "point")
        present = inputs.disk.present
        if present is None or not strictly:
            yield Wanted(point)
        else:
            yield Wanted(point, digests(present, "present"), present.point)


def _changes(ctx: Context, inputs: CompareVmDiskIn) -> Changes:
    """Raises TrackingError with what to do instead."""
    try:
        return tracked.since(ctx, inputs.vm, inputs.disk.stored)
    except TrackingError as error:
        error.add(READ_ALL)
        raise


def _trusted(ctx: Context, inputs: CompareVmDiskIn, changes: Changes) -> Trusted:
    changed, capacity = changes.blocks(), inputs.disk.stored.capacity
    # By the run's id: a resume looks at the same blocks.
    seed = f"{ctx.run.id} {inputs.disk.key}"
    return Trusted(changed, tracked.sample(changed, capacity, inputs.sample, seed))
