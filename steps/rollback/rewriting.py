"""The bytes of a restore point written over a VM's disk: what differs, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.base.errors import DifferenceError, SendenseError
from runner.base.units import MiB
from runner.step.context import Context
from steps.copy.digests import Digests
from steps.copy.engine import Progress, Tuning, copy
from steps.copy.extents import gaps
from steps.copy.ledger import Flushed
from steps.copy.rewrite import Rewriting, SourceDamaged, UnknownContent
from steps.incremental.disk_ledger import DiskLedger
from steps.nbd.growing_endpoint import GrowingEndpoint, most_connections
from steps.points.stored import receive_digests
from steps.source.disk_file import vm_disk_name
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing

BLOCKS_PER_CONNECTION = 4
"""As for a backup: two MiB are under way in a connection through SSH, and as much is being read meanwhile."""


class PointDamagedError(DifferenceError):
    """What the restore point holds is not what was read at the source."""

    fix_first = True

    def __init__(self, disk: StoredDisk, offset: int) -> None:
        super().__init__(
            f"disk {disk.key} of {disk.point} does not match its digest at offset {offset}: "
            f"{disk.image.path} on {disk.image.host}, or one of its backing images, is damaged; that block "
            "was not written",
            details={"offset": offset, "disk": disk.key},
        )


class UsedMeanwhileError(SendenseError):
    def __init__(self, disk: StoredDisk, offset: int) -> None:
        super().__init__(
            f"disk {disk.key} has other bytes at offset {offset} than when it was compared: the VM was used "
            "meanwhile, and what it wrote there is nowhere else; discard this run with `sendense sweep JOB "
            "--abandon RUN`, which undoes what it wrote"
        )


class SwappedDisksError(SendenseError):
    def __init__(self, disk: StoredDisk, source: Serving, into: VmDiskServing) -> None:
        super().__init__(
            f"swapped disks: disk {disk.key} is to be written, the source reads {source.image.path} and the "
            f"target is disk {into.disk_key} ({into.file}); nothing was written"
        )


@dataclass(frozen=True)
class How:
    stall_timeout: float = 60.0
    window: int = 256 * MiB
    label: str = "roll back"


@dataclass(frozen=True)
class Work:
    """`disk` is what is written, `ranges` the runs of blocks that it is written to. `present`: what those
    hold now, as a restore point has it; None where they may hold anything."""

    disk: StoredDisk
    ranges: Sequence[tuple[int, int]]
    present: StoredDisk | None
    ledger: DiskLedger | None


@dataclass(frozen=True)
class Rewritten:
    """Bytes, and seconds: this time, of what may have been resumed."""

    written: int
    """In parts that differed."""
    read: int
    """At the restore point."""
    seconds: float


def rewrite(ctx: Context, work: Work, source: Serving, into: VmDiskServing, how: How) -> Rewritten:
    """Returns once a FLUSH made everything durable. Raises PointDamagedError, UsedMeanwhileError, CopyError,
    Interrupted."""
    disk = work.disk
    if (source.image, into.disk_key, into.read_only) != (disk.image, disk.key, False):
        raise SwappedDisksError(disk, source, into)
    host = ctx.host(disk.image.host)
    try:
        with (
            receive_digests(host, disk, ctx.scratch / "wanted") as wanted,
            Digests.create(ctx.scratch / "written", disk.capacity) as digests,
        ):
            if work.present is None:
                return _copy(ctx, work, source, into, how, wanted, None, digests)
            with receive_digests(host, work.present, ctx.scratch / "present") as present:
                return _copy(ctx, work, source, into, how, wanted, present, digests)
    except SourceDamaged as error:
        raise PointDamagedError(disk, error.offset) from error
    except UnknownContent as error:
        raise UsedMeanwhileError(disk, error.offset) from error


def _copy(
    ctx: Context,
    work: Work,
    source: Serving,
    into: VmDiskServing,
    how: How,
    wanted: Digests,
    present: Digests | None,
    digests: Digests,
) -> Rewritten:
    disk, total = work.disk, sum(length for _, length in work.ranges)
    inherited = gaps(disk.capacity, work.ranges)
    _inherit(inherited, wanted, digests)
    with (
        GrowingEndpoint(
            ctx, source.uris, source.wire, f"image of disk {disk.key} on {disk.image.host}"
        ) as image,
        GrowingEndpoint(ctx, into.uris, into.wire, vm_disk_name(disk.key, into.file)) as target,
        Digests.create(ctx.scratch / "recorded", disk.capacity) as recorded,
    ):
        rewriting = Rewriting(image, target, wanted, present)
        if work.ledger is not None:
            work.ledger.believe(target, recorded, stall_timeout=how.stall_timeout)
        done = () if work.ledger is None else work.ledger.done

        def flushed(ranges: Sequence[Flushed]) -> None:
            rewriting.forget(ranges)
            if work.ledger is not None:
                work.ledger.record(ranges)

        def progressed(now: Progress) -> None:
            left = disk.capacity - now.done
            ctx.progress(
                f"disk {disk.key}",
                how.label,
                total - left,
                total,
                data=rewriting.written,
                read=now.read,
                seconds=now.seconds,
            )
            image.moved(now.read, left)
            target.moved(rewriting.written, left)

        in_flight = max(Tuning.in_flight, BLOCKS_PER_CONNECTION * most_connections(into.wire, into.uris))
        copied = copy(
            rewriting.source,
            rewriting.target,
            digests,
            stop=ctx.stop,
            tuning=Tuning(in_flight=in_flight, stall_timeout=how.stall_timeout, window=how.window),
            done=done,
            inherited=inherited,
            reading=rewriting.read,
            on_flushed=flushed,
            on_progress=progressed,
        )
    assert digests.digest() == disk.digest, "each block was compared with its digest as it was read"
    now = copied.progress
    return Rewritten(rewriting.written, now.read, now.seconds)


def _inherit(ranges: Sequence[tuple[int, int]], wanted: Digests, digests: Digests) -> None:
    """What is not written is as it is to be."""
    for offset, length in ranges:
        for start, entries in wanted.entries(offset, length):
            digests.put(start, entries)
