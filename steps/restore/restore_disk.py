"""restore-disk: a disk's bytes, from a restore point into a raw or qcow2 file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.base.model import HOW, Duration, JobModel, Size
from runner.base.units import MiB
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.engine import Tuning
from steps.copy.ledger import LedgerHead
from steps.incremental.disk_ledger import DiskLedger
from steps.restore.point_copy import Into, copy_out
from steps.restore.target_files import WrongPairError, is_there, row_of
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.target import Target


class RestoreDiskIn(JobModel):
    target: Target
    """The file that is to hold the disk"""
    stall_timeout: Annotated[Duration, HOW] = 60.0
    """How long no byte may move before the copy fails (and is tried again); how long it takes in all has no
    limit."""
    window: Annotated[Size, HOW, Field(ge=MiB)] = 256 * MiB
    """Bytes that are written but not flushed, at most: what a kill makes us copy twice."""


class RestoreDiskLive(JobModel):
    source: Serving
    """The disk in the restore point"""
    into: Serving
    """The file, to be written to"""


class RestoreDisk(Step[RestoreDiskIn, RestoreDiskLive, Restored]):
    """Copies a disk out of a restore point. What reads as zero is not written, so a sparse disk stays sparse.
    Every block that is read is compared with its digest of the time of the backup. What a FLUSH made safe is
    recorded: an interrupted restore resumes there, inside the disk."""

    name = "restore-disk"
    lifetime = Lifetime.KEEP
    In = RestoreDiskIn
    Live = RestoreDiskLive
    Out = Restored
    tools = (nbd.LIBNBD,)
    example = (
        'uses: restore-disk, each: {disk: "${{ point.disks }}"}, '
        'with: {target: "${{ target }}", source: "${{ source }}", into: "${{ into }}"}, retries: 5'
    )
    errors = (
        "the restore point is damaged: disk and offset are named (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
        "a range cannot be read or written: one is enough",
        "no space is left where the file is",
    )

    def check(self, ctx: Context, inputs: RestoreDiskIn, recorded: Restored | None) -> Restored | None:
        return recorded if recorded is not None and is_there(ctx, recorded) else None

    def run(self, ctx: Context, inputs: RestoreDiskIn, live: RestoreDiskLive) -> Restored:
        disk, target = inputs.target.disk, inputs.target
        ctx.uses("libnbd", nbd.version())
        if (live.source.image, live.into.image) != (disk.image, target.image) or live.into.read_only:
            raise WrongPairError(disk, live.source, live.into.image.path)
        into = Into(f"{target.image.path} on {target.image.host}", live.into.uris, live.into.wire)
        tuning = Tuning(stall_timeout=inputs.stall_timeout, window=inputs.window)
        done = copy_out(ctx, disk, live.source, into, _ledger(ctx, target), tuning)
        return Restored(target=target, seconds=done.progress.seconds, moved=done.progress.read)

    def report(self, out: Restored) -> StepReport:
        return row_of(out)


def _ledger(ctx: Context, target: Target) -> DiskLedger:
    disk = target.disk
    head = LedgerHead(
        disk_key=disk.key,
        capacity=disk.capacity,
        backing_uuid=disk.backing_uuid,
        image=f"{target.image.host}:{target.image.path}",
        snapshot=disk.point,
    )
    return DiskLedger(ctx, head)
