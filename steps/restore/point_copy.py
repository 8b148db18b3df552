"""A disk copied out of a restore point: every block is compared with its digest of the time of the backup,
and what a FLUSH made safe is recorded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.base.errors import DifferenceError
from runner.step.context import Context
from steps.copy.digests import Digests
from steps.copy.engine import Copy, Progress, Tuning, copy
from steps.copy.ledger import Flushed
from steps.copy.rewrite import Rewriting, SourceDamaged
from steps.incremental.disk_ledger import DiskLedger
from steps.nbd.growing_endpoint import GrowingEndpoint, most_connections
from steps.points.stored import receive_digests
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.wire import Wire

BLOCKS_PER_CONNECTION = 4
"""As for a backup: two MiB are under way in a connection through SSH, and as much is being read meanwhile."""


class PointDamagedError(DifferenceError):
    """What the restore point holds is not what was read at the source."""

    def __init__(self, disk: StoredDisk, offset: int) -> None:
        super().__init__(
            f"disk {disk.key} of {disk.point} does not match its digest at offset {offset}: "
            f"{disk.image.path} on {disk.image.host}, or one of its backing images, is damaged; restore "
            "another point",
            details={"offset": offset, "disk": disk.key},
        )


@dataclass(frozen=True)
class Into:
    """What is written to, as it is served."""

    name: str
    uris: tuple[str, ...]
    wire: Wire | None


Has = Literal["as told", "blank", "anything"]
"""What a disk has where nothing is recorded as safe: what its extents tell; only zeroes, and bytes of this
very disk; or anything, so that each block is read and what differs is written."""


def copy_out(
    ctx: Context,
    disk: StoredDisk,
    live_source: Serving,
    live_into: Into,
    ledger: DiskLedger,
    tuning: Tuning,
    has: Callable[[], Has] = lambda: "as told",
) -> Copy:
    """Believes `ledger` before it writes, and asks what the disk `has` then. Raises PointDamagedError, with
    the ledger forgotten: what is recorded as safe is of a point that was damaged already, or still is;
    DigestsDamagedError, CopyError."""
    connections = most_connections(live_into.wire, live_into.uris)
    image = f"image of disk {disk.key} on {disk.image.host}"
    with (
        receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / "expected") as expected,
        Digests.create(ctx.scratch / "read", disk.capacity) as read,
        Digests.create(ctx.scratch / "recorded", disk.capacity) as recorded,
        GrowingEndpoint(ctx, live_source.uris, live_source.wire, image) as source,
        GrowingEndpoint(ctx, live_into.uris, live_into.wire, live_into.name) as into,
    ):

        def progressed(now: Progress) -> None:
            _tell(ctx, disk, now)
            source.moved(now.read, disk.capacity - now.done)
            into.moved(now.data, disk.capacity - now.done)

        def flushed(ranges: Sequence[Flushed]) -> None:
            ledger.record(ranges)
            if rewriting is not None:
                rewriting.forget(ranges)

        ledger.believe(into, recorded)
        found = has()
        rewriting = Rewriting(source, into, expected) if found == "anything" else None
        try:
            done = copy(
                source if rewriting is None else rewriting.source,
                into if rewriting is None else rewriting.target,
                read,
                stop=ctx.stop,
                tuning=Tuning(
                    in_flight=max(tuning.in_flight, BLOCKS_PER_CONNECTION * connections),
                    stall_timeout=tuning.stall_timeout,
                    window=tuning.window,
                ),
                done=ledger.done,
                reading=None if rewriting is None else rewriting.read,
                blank=found == "blank",
                on_flushed=flushed,
                on_progress=progressed,
            )
        except SourceDamaged as damaged:
            ledger.forget()
            raise PointDamagedError(disk, damaged.offset) from damaged
        if read.digest() != disk.digest:
            ledger.forget()
            raise PointDamagedError(disk, first_difference(expected, read))
        return done


def _tell(ctx: Context, disk: StoredDisk, now: Progress) -> None:
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


def first_difference(expected: Digests, read: Digests) -> int:
    """The offset of the first block of which one says something else than the other."""
    blocks = heapq.merge(expected.data_blocks(), read.data_blocks())
    return next((offset for offset in blocks if expected.get(offset) != read.get(offset)), 0)
