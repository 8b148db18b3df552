"""verify: the image is sound, and its bytes are the bytes read at the source."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import DifferenceError, Interrupted, SendenseError, StateError
from runner.base.model import HOW, JobModel
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.backup import verified_marker
from steps.backup.digest_file import digests_are_there, published
from steps.copy import nbd
from steps.copy.compare import BlockDifference, Compared
from steps.copy.differences import Differences
from steps.copy.digests import ENTRY, Digests, file_size
from steps.incremental.chain_doubt import damaged
from steps.incremental.read_back import Scope, scope_of
from steps.points.figures import digested_by, verified
from steps.qemu import img, nbd_server
from steps.readback import on_host
from steps.readback.comparison import ImageReader, ReadBack, Readback
from steps.readback.image import of_backup
from steps.repository import layout
from steps.values.copied import Copied
from steps.values.image import Image
from steps.values.verified import Level, Verified


class VerifyIn(JobModel):
    copied: Copied
    """What is to be compared with the digests made while it was read at the source."""
    level: Level = "full"
    """full: every block that was written is read back, and of an incremental 1 % of those it takes from its
    parents, at least 64 and at most 4096; chain: those all; sample: 1 % of the blocks of content, at least
    1024; metadata: the image's tables and the digests file only."""
    readback: Annotated[Readback, HOW] = "auto"
    """wire: the image is read over NBD, and digested here; host: its host reads it and makes the digests, by
    qemu-img and b3sum, and some blocks are read over NBD too; auto: that where the image is on another host
    that has both, unless the wire was measured to be faster."""


class ImageDiffersError(DifferenceError):
    """A block that reads back otherwise than it was read at the source: it must be copied again."""

    invalidates = ("copied",)

    def __init__(self, image: Image, difference: BlockDifference, *, again: bool) -> None:
        self.offset = difference.offset
        blame = (
            f" for the second time, after it was copied again: the storage of host {image.host} under "
            f"{image.directory} does not give back what is written to it; check its disks and memory"
            if again
            else "; the next run copies the disk again"
        )
        super().__init__(
            f"disk {image.key} in {image.path} on {image.host} differs at offset {difference.offset}: "
            f"BLAKE3 {difference.expected} was read at the source, {difference.found} is read back{blame}",
            details={"offset": difference.offset, "disk": image.key},
        )


class DigestsDifferError(DifferenceError):
    invalidates = ("copied",)

    def __init__(self, copied: Copied, why: str) -> None:
        super().__init__(
            f"the digests of disk {copied.key} in {copied.digests} on {copied.image.host} are not the ones "
            f"that were written ({why}); the next run copies the disk again"
        )


class CorruptImageError(DifferenceError):
    invalidates = ("copied", "copied/target")

    def __init__(self, image: Image, report: img.CheckReport) -> None:
        super().__init__(
            f"qemu-img check finds {report.corruptions} corruptions and {report.check_errors} errors in "
            f"the image of disk {image.key}, {image.path} on {image.host}; run the same command again: the "
            "image is recreated and copied again"
        )


class ParentDiffersError(DifferenceError):
    """A block that the image takes from its parents reads back otherwise than it was recorded when they were
    made."""

    invalidates = ("copied/base",)
    self_healing = True

    def __init__(self, image: Image, difference: BlockDifference) -> None:
        super().__init__(
            f"disk {image.key}: a block that {image.path} on {image.host} inherits does not match its "
            f"digest at offset {difference.offset}: BLAKE3 {difference.expected} was recorded, "
            f"{difference.found} is read back; the points of that chain are no longer trusted, and the "
            "disk falls back to full",
            details={"offset": difference.offset, "disk": image.key},
        )


class Verify(Step[VerifyIn, Empty, Verified]):
    """Compares an image with what was read at the source. First `qemu-img check` of its tables, then every
    block, read from disk by another process, against the digest made of the source's bytes."""

    name = "verify"
    lifetime = Lifetime.KEEP
    removed = {
        "image": "it serves the image itself: remove this line, and the start-nbd and open-tunnel steps that "
        "stood before it"
    }
    In = VerifyIn
    Out = Verified
    tools = (img.QEMU_IMG, nbd_server.QEMU_NBD, nbd.LIBNBD, on_host.B3SUM)
    example = 'uses: verify, each: {disk: "${{ discover.disks }}"}, with: {copied: "${{ transfer }}"}'
    errors = (
        "a block differs: disk, offset and both digests are named, and the disk is copied again by the next "
        "run (exit 5)",
        "a block that an incremental inherits differs: the chain is no longer trusted, and the same run "
        "falls back to full",
        "the image's tables are corrupt, or the digests file is not the one that was written (exit 5)",
    )

    def check(self, ctx: Context, inputs: VerifyIn, recorded: Verified | None) -> Verified | None:
        host, image = ctx.host(inputs.copied.image.host), inputs.copied.image
        if recorded is not None and published(ctx, host, image):
            return recorded
        marker = verified_marker.read(host, image)
        if marker is None or (marker.verified.copied, marker.verified.level) != (inputs.copied, inputs.level):
            return None
        if recorded not in (None, marker.verified) or not digests_are_there(host, inputs.copied):
            return None
        return marker.verified if marker.state == verified_marker.state_of(host, image) else None

    def run(self, ctx: Context, inputs: VerifyIn, live: Empty) -> Verified:
        image, host = inputs.copied.image, ctx.host(inputs.copied.image.host)
        verified_marker.remove(host, image)
        # Of before the comparison: a write in the middle of it then makes the marker void.
        state = verified_marker.state_of(host, image)
        with ThreadPoolExecutor(1, thread_name_prefix="qemu-img check") as beside:
            tables = beside.submit(_check_tables, host, image)
            try:
                found = _compared(ctx, inputs, tables)
            except Interrupted:
                raise
            except SendenseError:
                tables.result()  # what is wrong with them explains all else
                raise
        verified_marker.write(host, image, state, found)
        return found

    def undo(self, ctx: Context, inputs: VerifyIn, out: Verified) -> None:
        verified_marker.remove(ctx.host(out.copied.image.host), out.copied.image)

    def preflight(self, ctx: Context | None, known: Known[VerifyIn, Verified]) -> Preflight[Verified]:
        return Preflight(settings=known.settings(verify="level", readback="readback"))

    def report(self, out: Verified) -> StepReport:
        key = out.copied.key
        whole = out.compared == out.blocks
        own = out.compared - out.inherited
        blocks = (
            f"all {out.blocks} blocks of 1 MiB"
            if whole
            else f"{out.compared} of {out.blocks} blocks of 1 MiB"
        )
        if out.inherited and not whole:
            written = f"all {own} blocks of 1 MiB that this run wrote and " if own else ""
            inherited = "inherited ones" if own else "blocks of 1 MiB, which are all inherited,"
            blocks = f"{written}{out.inherited} of the {out.blocks - own} {inherited}"
        past = "from the host, perhaps from its page cache" if out.cached else "past the host's page cache"
        said = [f"Disk {key}: qemu-img check found no damage"]
        if out.compared:
            said.append(
                f"{blocks} were read back {past}{digested_by(out.tools, out.reread)} and equal the BLAKE3 "
                f"digests made while {_digested(out.copied)}"
            )
        statements = [Statement(about="verified", text=f"{'; '.join(said)}.")]
        if out.why:
            where = "by its own host" if out.readback == "host" else "over the wire"
            statements.append(Statement(about="noted", text=f"Disk {key} was read back {where}: {out.why}."))
        if out.leaks:
            wasted = (
                f"Disk {key}: {out.leaks} leaked clusters waste space in its image; no byte of it is wrong."
            )
            statements.append(Statement(about="noted", text=wasted))
        cell = Cell(value=verified(out.proven, out.compared, out.blocks))
        return StepReport(
            rows=(Row(table="Disks", key=str(key), cells={"Verified": cell}),),
            statements=tuple(statements),
        )


def _digested(copied: Copied) -> str:
    """While what the digests were made, and of whose bytes."""
    checked = copied.checked
    if checked is None or checked.partly == checked.of:
        return "reading the source"
    return (
        "copying; of blocks that changed in part they cover the changed bytes as read at the source and the "
        "parent's bytes between, which equal the parent's digest"
    )


def _check_tables(host: Host, image: Image) -> int:
    """Leaked clusters; raises CorruptImageError."""
    # The exporter of an earlier attempt, which only reads, may be about to end.
    report = img.check(host, image.path, force_share=True)
    if report.corruptions or report.check_errors:
        raise CorruptImageError(image, report)
    return report.leaks


def _compared(ctx: Context, inputs: VerifyIn, tables: Future[int]) -> Verified:
    """`tables`: the leaks that `_check_tables` finds meanwhile, or what it raises."""
    copied = inputs.copied
    with _fetch_digests(ctx, ctx.host(copied.image.host), copied) as digests:
        scope = scope_of(ctx, copied, inputs.level, digests)
        seen = _read_back(ctx, inputs, digests, scope, tables)
        # First: corrupt tables make the copy, or the parents, look wrong.
        leaks = tables.result()
        for difference in seen.found.blocks:
            raise _differs(ctx, copied, scope, difference)
        return Verified(
            copied=copied,
            level=inputs.level,
            blocks=digests.size // ENTRY,
            compared=seen.found.compared,
            inherited=scope.inherited(seen.found.compared),
            cached=seen.cached,
            readback=seen.by,
            reread=seen.reread,
            tools=seen.tools,
            why=seen.why,
            leaks=leaks,
            at=datetime.now(UTC),
        )


def _fetch_digests(ctx: Context, host: Host, copied: Copied) -> Digests:
    local = ctx.scratch / layout.digests(copied.key)
    try:
        digests = Digests.receive(
            local,
            copied.image.capacity,
            host.read_chunks(copied.digests, limit=file_size(copied.image.capacity)),
        )
    except FileNotFoundError as error:
        raise DigestsDifferError(copied, "the file is gone") from error
    except StateError as error:
        raise DigestsDifferError(copied, error.message) from error
    found = digests.digest()
    if found != copied.digest:
        digests.close()
        raise DigestsDifferError(copied, f"BLAKE3 {found}, not {copied.digest}")
    return digests


def _read_back(
    ctx: Context, inputs: VerifyIn, digests: Digests, scope: Scope, tables: Future[int]
) -> ReadBack:
    copied, image = inputs.copied, inputs.copied.image

    def tell(now: Compared) -> None:
        ctx.progress(f"disk {image.key}", "verify", **asdict(now))
        if tables.done():
            tables.result()  # what is read through corrupt ones, perhaps for hours, proves nothing

    if inputs.level == "metadata":
        return ReadBack(Differences((), 0), "wire", cached=False)
    depth = 1 if copied.parent is None else 1 + copied.parent.last_full.points
    reader = ImageReader(
        ctx,
        ctx.host(image.host),
        of_backup(image, depth),
        digests,
        most=1,
        tell=tell,
    )
    return reader.read_back(scope.ranges, inputs.readback)


def _differs(ctx: Context, copied: Copied, scope: Scope, difference: BlockDifference) -> DifferenceError:
    image = copied.image
    if not scope.is_own(difference.offset):
        return _parent_differs(ctx, copied, difference)
    before = ctx.previous_failure or {}
    again = (before.get("offset"), before.get("disk")) == (difference.offset, image.key)
    # What was recorded of the copy is proven wrong: the next one begins at byte 0.
    ctx.log(layout.ledger(image.key)).remove()
    return ImageDiffersError(image, difference, again=again)


def _parent_differs(ctx: Context, copied: Copied, difference: BlockDifference) -> ParentDiffersError:
    assert copied.base is not None
    why = f"a block of the chain does not match its digest at offset {difference.offset}"
    damaged(ctx, copied.base, copied.image, why, difference.offset)
    return ParentDiffersError(copied.image, difference)
