"""transfer: the disk's bytes, from source to image, with a digest of every block."""

from __future__ import annotations

import posixpath
from contextlib import ExitStack, nullcontext
from datetime import UTC
from typing import Annotated

from pydantic import Field, ValidationError

from runner.base.errors import SendenseError, StateError
from runner.base.model import HOW, Duration, JobModel, Percent, Size
from runner.base.units import MiB, human_bytes
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Lifetime, Step
from steps.backup.digest_file import digests_are_there, published
from steps.copy import nbd
from steps.copy.digests import ENTRY, Digests
from steps.copy.engine import Copy, Progress, Tuning, copy
from steps.copy.ledger import LedgerHead
from steps.copy.sampling import Sampling
from steps.incremental.disk_ledger import DiskLedger
from steps.incremental.increment import Increment
from steps.incremental.written_map import blocks_of, content_of, map_file
from steps.nbd.growing_endpoint import GrowingEndpoint, most_connections
from steps.points.figures import speed_of
from steps.qemu import img
from steps.repository import layout
from steps.repository.manifest import Sampled
from steps.source.disk_file import source_name
from steps.values.base import Base
from steps.values.copied import Copied
from steps.values.image import Image
from steps.values.source import Source
from steps.values.tunnel import Tunnel

BLOCKS_PER_CONNECTION = 4
"""Two MiB are under way in a connection through SSH, and as much is being read meanwhile."""


class TransferIn(JobModel):
    base: Base | None = None
    """The image's parent, whose part of the disk is inherited."""
    sample: Annotated[Percent | None, HOW] = None
    """How much of what changed block tracking calls unchanged is read all the same, to compare it with the
    parent: a percentage of its blocks, at least 64 of them. Without it 0.5 %, at most 4096. Of the blocks
    that changed in part, as much is read whole, but no less than one in 16."""
    stall_timeout: Annotated[Duration, HOW] = 60.0
    """How long no byte may move before the copy fails (and is tried again); how long it takes in all has no
    limit."""
    window: Annotated[Size, HOW, Field(ge=MiB)] = 256 * MiB
    """Bytes that are written but not flushed, at most: what a kill makes us copy twice."""
    flush_interval: Annotated[Duration, HOW] = 5.0
    """How long a write waits for its flush, at most."""


class TransferLive(JobModel):
    source: Source
    """The frozen disk."""
    target: Tunnel
    """The image, for writing."""


class SwappedTargetsError(SendenseError):
    """The source is of one disk, the target of another."""

    def __init__(self, source: Source, target: Tunnel, why: str) -> None:
        image = target.image
        super().__init__(
            f"swapped targets: the source reads disk {source.disk_key} (backing {source.backing_uuid}), the "
            f"target {image.path} on {image.host} is for disk {image.key} (backing "
            f"{image.disk.backing_uuid}); {why}; nothing was written"
        )


class Transfer(Step[TransferIn, TransferLive, Copied]):
    """Copies a frozen disk into its image. Holes that the source knows of are not read; the BLAKE3 of
    every 1 MiB block is kept beside the image. Onto a parent only what changed is read and written, and a
    sample of the rest is read and compared. It is done when a FLUSH has made the last byte durable.
    What a FLUSH made safe is recorded: an interrupted copy resumes there, inside the disk."""

    name = "transfer"
    lifetime = Lifetime.KEEP
    In = TransferIn
    Live = TransferLive
    Out = Copied
    tools = (nbd.LIBNBD,)
    example = (
        'uses: transfer, each: {disk: "${{ discover.disks }}"}, '
        'with: {source: "${{ source }}", target: "${{ tunnel }}"}'
    )
    errors = (
        "source and target are of different disks (nothing is written)",
        "a range cannot be read or written: one is enough",
        "no byte moved for stall-timeout: it says which side it waits for",
        "no space is left where the image is",
        "changed block tracking missed a write: the chain is marked suspect, and the same run makes a "
        "full of the disk (exit 5)",
    )

    def check(self, ctx: Context, inputs: TransferIn, recorded: Copied | None) -> Copied | None:
        if recorded is None:
            return None
        host, image = ctx.host(recorded.image.host), recorded.image
        if published(ctx, host, image):
            return recorded
        agrees = (
            _read_marker(host, image) == recorded
            and digests_are_there(host, recorded)
            and host.exists(image.path)
            # An exporter of this run may have it open.
            and img.info(host, image.path, force_share=True).virtual_size == image.capacity
        )
        return recorded if agrees else None

    def run(self, ctx: Context, inputs: TransferIn, live: TransferLive) -> Copied:
        source, image = live.source, live.target.image
        ctx.uses("libnbd", nbd.version())
        _refuse_swapped(source, live.target, inputs.base)
        host = ctx.host(image.host)
        host.remove(*(posixpath.join(image.directory, name) for name in layout.markers(image.key)))
        local = ctx.scratch / layout.digests(image.key)
        base = inputs.base if inputs.base is not None and inputs.base.parent is not None else None
        with ExitStack() as stack:
            digests = stack.enter_context(Digests.create(local, image.capacity))
            increment = (
                None
                if base is None
                else stack.enter_context(
                    Increment.opened(
                        ctx,
                        base,
                        image,
                        source.snapshot,
                        None if inputs.sample is None else inputs.sample / 100,
                    )
                )
            )
            done, read_before, sampling = _copy(ctx, inputs, live, digests, increment)
            if done.blind:
                ctx.warn(
                    f"disk {image.key}: the source gave no extents for {done.blind} bytes, which were read "
                    "instead"
                )
            path = posixpath.join(image.directory, layout.digests(image.key))
            data, zero = digests.counts()
            ranges = [] if increment is None else increment.written(digests)
            written = digests.size // ENTRY if increment is None else blocks_of(ranges)
            copied = Copied(
                image=image,
                snapshot=source.snapshot,
                digests=path,
                digest=digests.digest(),
                data=data,
                zero=zero,
                seconds=done.progress.seconds,
                moved=done.progress.read,
                base=inputs.base,
                read=done.progress.read + read_before,
                checked=None if increment is None else increment.checked(),
                written=written,
                copied=data if increment is None else content_of(digests, ranges),
                sampled=_sampled(sampling, written, whole=increment is None),
            )
            marker = posixpath.basename(_marker(image)), copied.model_dump_json(indent=1).encode()
            beside = (marker,) if increment is None else (map_file(image, ranges), marker)
            # The marker last: that it is there proves all the rest.
            host.write_sparse(path, digests.size, digests.pieces(), then=beside)
        return copied

    def preflight(self, ctx: Context | None, known: Known[TransferIn, Copied]) -> Preflight[Copied]:
        settings = tuple[Setting, ...]()
        if "window" in known.told:
            window = human_bytes(known.told["window"])
            text = f"at most {window} of a disk are copied twice after a kill"
            settings = (Setting(name="window", text=text),)
        # Also where nothing is known of the disk: it is this machine's.
        return Preflight(settings=settings, observations=() if ctx is None else (nbd.LIBNBD.here(),))

    def undo(self, ctx: Context, inputs: TransferIn, out: Copied) -> None:
        """The step that made the image deletes it."""
        host = ctx.host(out.image.host)
        host.remove(_marker(out.image))
        host.remove(out.digests)

    def report(self, out: Copied) -> StepReport:
        cells = {
            "Name": Cell(value=out.image.disk.label, detail=True),
            "Size": Cell(value=out.image.capacity, unit="bytes"),
            "Copied": Cell(value=out.copied, unit="bytes"),
            "Content": Cell(value=out.data, unit="bytes", detail=True),
            "Zeroes": Cell(value=out.zero, unit="bytes", detail=True),
            **speed_of(out.seconds, out.moved),
            "BLAKE3": Cell(value=out.digest, unit="digest"),
        }
        rows = (Row(table="Disks", key=str(out.image.key), cells=cells),)
        if out.checked is None:
            return StepReport(rows=rows)
        seen = out.checked
        partly = f" and {seen.partly} of {seen.of} that it calls changed in part" if seen.of else ""
        text = (
            f"Disk {out.image.key}: to check changed block tracking, {seen.unchanged} blocks that it calls "
            f"unchanged{partly} were read whole."
        )
        return StepReport(rows=rows, statements=(Statement(about="how", text=text),))


def _sampled(sampling: Sampling, written: int, *, whole: bool) -> Sampled:
    """`written`: blocks of the image."""
    return Sampled(
        changed=written * MiB, whole=whole, blocks=sampling.blocks, incompressible=sampling.incompressible
    )


def _refuse_swapped(source: Source, target: Tunnel, base: Base | None) -> None:
    disk, backing = target.image.disk, target.image.backing
    if base is not None and base.disk_key != disk.key:
        raise SwappedTargetsError(source, target, f"its parent was chosen for disk {base.disk_key}")
    if backing != (base.parent.image if base is not None and base.parent is not None else None):
        raise SwappedTargetsError(
            source,
            target,
            (f"the image is backed by {backing or 'nothing'}, not by what choose-parent decided"),
        )
    if (source.disk_key, source.backing_uuid) != (disk.key, disk.backing_uuid):
        raise SwappedTargetsError(source, target, "these are two disks")
    for what, size in (("image", target.image.capacity), ("disk", disk.capacity), ("export", target.size)):
        if size != source.capacity:
            raise SwappedTargetsError(
                source, target, f"the source has {source.capacity} bytes, the {what} {size}"
            )


def _copy(
    ctx: Context,
    inputs: TransferIn,
    live: TransferLive,
    digests: Digests,
    increment: Increment | None,
) -> tuple[Copy, int, Sampling]:
    """The copy, bytes that attempts before it had read at the source, and what all of them wrote looks
    like."""
    key, capacity = live.source.disk_key, live.source.capacity
    with (
        GrowingEndpoint(ctx, live.source.uris, live.source.wire, source_name(key)) as source,
        GrowingEndpoint(
            ctx, live.target.uris, live.target.wire, f"image of disk {key} on {live.target.image.host}"
        ) as target,
    ):
        for what, size in (("source's", source.abilities.size), ("target's", target.abilities.size)):
            if size != capacity:
                raise SwappedTargetsError(
                    live.source, live.target, f"the {what} NBD export has {size} bytes, not {capacity}"
                )
        ledger = DiskLedger(ctx, _head(live.source, live.target.image))

        def progressed(now: Progress) -> None:
            _report(ctx, f"disk {key}", capacity, now)
            source.moved(now.read, capacity - now.done)
            target.moved(now.data, capacity - now.done)

        with (
            Digests.create(ctx.scratch / "recorded", capacity) as recorded,
            Digests.create(ctx.scratch / "earlier", capacity) as earlier,
        ):
            begun = ledger.holds_something
            ledger.believe(target, recorded, stall_timeout=inputs.stall_timeout)
            if begun and not ledger.holds_something and increment is not None:
                increment.refuse_unknown_image()
            held = ledger.what_it_held(earlier)
            ledger.writing()
            onto, reading = (target, None) if increment is None else increment.between(source, target)
            with nullcontext() if increment is None else increment.doubting():
                done = copy(
                    source,
                    onto,
                    digests,
                    stop=ctx.stop,
                    tuning=_tuning(inputs, live.target),
                    done=ledger.done,
                    inherited=() if increment is None else increment.inherit(digests, ledger.done),
                    earlier=held if increment is None else increment.earlier(),
                    reading=reading,
                    on_content=ledger.sampling.take,
                    on_flushed=ledger.record,
                    on_progress=progressed,
                )
        if increment is not None:
            increment.check(digests)
            return done, increment.read_before(ledger.done), ledger.sampling
        return done, sum(one.length for one in ledger.done if one.digests), ledger.sampling


def _tuning(inputs: TransferIn, target: Tunnel) -> Tuning:
    connections = most_connections(target.wire, target.uris)
    return Tuning(
        in_flight=max(Tuning.in_flight, BLOCKS_PER_CONNECTION * connections),
        stall_timeout=inputs.stall_timeout,
        window=inputs.window,
        flush_interval=inputs.flush_interval,
    )


def _report(ctx: Context, label: str, capacity: int, progress: Progress) -> None:
    ctx.progress(
        label,
        "copy",
        progress.done,
        capacity,
        data=progress.data,
        zero=progress.zero,
        skipped=progress.skipped,
        read=progress.read,
        seconds=progress.seconds,
    )


def _head(source: Source, image: Image) -> LedgerHead:
    return LedgerHead(
        disk_key=source.disk_key,
        capacity=source.capacity,
        backing_uuid=source.backing_uuid,
        image=f"{image.host}:{image.path}",
        snapshot=f"{source.snapshot} of {source.created.astimezone(UTC).isoformat()}",
    )


def _marker(image: Image) -> str:
    return posixpath.join(image.directory, layout.markers(image.key)[0])


def _read_marker(host: Host, image: Image) -> Copied | None:
    try:
        return Copied.model_validate_json(host.read(_marker(image)))
    except (FileNotFoundError, StateError, ValidationError):
        # Absent or not of this version: the work is done again, which makes it right.
        return None
