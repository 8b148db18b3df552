"""restore-disk: a disk's bytes, from a restore point into a raw or qcow2 file."""

from __future__ import annotations

import heapq
from typing import Annotated

from pydantic import Field

from runner.base.errors import DifferenceError
from runner.base.model import HOW, Duration, JobModel, Size
from runner.base.units import MiB
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.digests import Digests
from steps.copy.engine import Copy, Progress, Tuning, copy
from steps.copy.ledger import LedgerHead
from steps.incremental.disk_ledger import DiskLedger
from steps.nbd.growing_endpoint import GrowingEndpoint, most_connections
from steps.points.stored import receive_digests
from steps.restore.target_files import WrongPairError, is_there, row_of
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.target import Target

BLOCKS_PER_CONNECTION = 4
"""As for a backup: two MiB are under way in a connection through SSH, and as much is being read meanwhile."""


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


class PointDamagedError(DifferenceError):
    """What the restore point holds is not what was read at the source."""

    def __init__(self, disk: StoredDisk, offset: int) -> None:
        super().__init__(
            f"disk {disk.key} of {disk.point} does not match its digest at offset {offset}: "
            f"{disk.image.path} on {disk.image.host}, or one of its backing images, is damaged; restore "
            "another point",
            details={"offset": offset, "disk": disk.key},
        )


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
        expected = receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / "expected")
        with expected, Digests.create(ctx.scratch / "read", disk.capacity) as read:
            done = _copy(ctx, inputs, live, read)
            if read.digest() != disk.digest:
                # What is recorded as safe is of a point that was damaged already, or still is.
                _ledger(ctx, target).forget()
                raise PointDamagedError(disk, _first_difference(expected, read))
        return Restored(target=target, seconds=done.progress.seconds, moved=done.progress.read)

    def report(self, out: Restored) -> StepReport:
        return row_of(out)


def _copy(ctx: Context, inputs: RestoreDiskIn, live: RestoreDiskLive, digests: Digests) -> Copy:
    disk, target = inputs.target.disk, inputs.target

    def progressed(now: Progress) -> None:
        ctx.progress(
            f"disk {disk.key}",
            "restore",
            now.done,
            disk.capacity,
            data=now.data,
            zero=now.zero,
            skipped=now.skipped,
            read=now.read,
            seconds=now.seconds,
        )
        source.moved(now.read, disk.capacity - now.done)
        into.moved(now.data, disk.capacity - now.done)

    with (
        GrowingEndpoint(
            ctx, live.source.uris, live.source.wire, f"image of disk {disk.key} on {disk.image.host}"
        ) as source,
        GrowingEndpoint(
            ctx, live.into.uris, live.into.wire, f"{target.image.path} on {target.image.host}"
        ) as into,
        Digests.create(ctx.scratch / "recorded", disk.capacity) as recorded,
    ):
        ledger = _ledger(ctx, target)
        ledger.believe(into, recorded)
        connections = most_connections(live.into.wire, live.into.uris)
        in_flight = max(Tuning.in_flight, BLOCKS_PER_CONNECTION * connections)
        return copy(
            source,
            into,
            digests,
            stop=ctx.stop,
            tuning=Tuning(in_flight=in_flight, stall_timeout=inputs.stall_timeout, window=inputs.window),
            done=ledger.done,
            on_flushed=ledger.record,
            on_progress=progressed,
        )


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


def _first_difference(expected: Digests, read: Digests) -> int:
    """The offset of the first block of which one says something else than the other."""
    blocks = heapq.merge(expected.data_blocks(), read.data_blocks())
    return next((offset for offset in blocks if expected.get(offset) != read.get(offset)), 0)
