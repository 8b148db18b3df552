"""verify-point: a stored restore point is compared with the digests that were made when it was read
at the source."""

from __future__ import annotations

import posixpath
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import DifferenceError, SendenseError, StateError
from runner.base.model import HOW, JobModel, SectionName
from runner.events.result import Amount, Result
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.copy import nbd
from steps.copy.compare import sample
from steps.copy.differences import Differences
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK, one_by_one
from steps.points import stored
from steps.points.figures import digested_by
from steps.qemu import img, nbd_server
from steps.readback import on_host
from steps.readback.comparison import ImageReader, ReadBack, Readback
from steps.readback.image import of_point
from steps.repository import layout, lookup, manifest, saved_files, verification_records
from steps.repository.manifest import PointDisk
from steps.repository.section import locate
from steps.repository.verification_records import DiskVerified, Level, Verification
from steps.repository.vm_lock import hold
from steps.trail import log
from steps.values.point_checked import DIFFERENCES, PointChecked
from steps.values.stored_point import StoredDisk


class VerifyPointIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository that has it, an entry of `repositories`"""
    point: str
    """Its name, any unambiguous prefix of it, VM/POINT, or the path of its directory; VM or VM/latest: its
    newest good one"""
    level: Level = "chain"
    """chain: every block is read, in whichever image of the chain it is; sample: 1 % of the blocks of
    content, at least 1024; metadata: the images' tables, the chain and the digests file only"""
    readback: Annotated[Readback, HOW] = "auto"
    """wire: the images are read over NBD, and digested here; host: their host reads them and makes the
    digests, by qemu-img and b3sum, and some blocks are read over NBD too; auto: that where they are on
    another host that has both, unless the wire was measured to be faster"""


class PointDamagedError(DifferenceError):
    def __init__(self, path: str, host: Host, disks: tuple[DiskVerified, ...], begun: datetime) -> None:
        """`begun`: when this verification was; what an earlier one found is said to be of that one."""
        said = "; ".join(_words(disk) + _since(disk, begun) for disk in disks if not disk.passed)
        super().__init__(f"{path} on {host.name} differs from what was read at the source: {said}")


class VerifyPoint(Step[VerifyPointIn, Empty, PointChecked]):
    """Verifies a restore point at rest. The chain, the tables of every image in it, the digests file against
    the manifest, and then the blocks, read from storage, against the digests. What comes of it is recorded
    beside the manifest, unless this account can only read there; that something is wrong with the chain, only
    once that was seen with the VM's lock held."""

    name = "verify-point"
    formerly = ("check-point",)
    lifetime = Lifetime.KEEP
    In = VerifyPointIn
    Out = PointChecked
    makes = ("points",)
    tools = (img.QEMU_IMG, nbd_server.QEMU_NBD, nbd.LIBNBD, on_host.B3SUM)
    example = "uses: verify-point, with: {repository: main, point: pgtest1/20261123, level: chain}"
    errors = (
        "there is no such point, or several may be meant (they are named)",
        "its chain seems damaged while another run holds the VM (exit code 3; the holder is named)",
        "it is damaged, or was found so before and not every block was read now: disks and offsets are "
        "named, the point is marked and no longer trusted (exit code 5)",
        "its disks are whole, and a saved file of the VM is not what its manifest says (exit code 5)",
    )

    def check(
        self, ctx: Context, inputs: VerifyPointIn, recorded: PointChecked | None
    ) -> PointChecked | None:
        return recorded

    def run(self, ctx: Context, inputs: VerifyPointIn, live: Empty) -> PointChecked:
        host, root = locate(ctx, inputs.repository)
        img.QEMU_IMG.require(ctx, host)
        found = lookup.find(host, root, inputs.point)
        if found.note is not None:
            ctx.warn(found.note)
        path = found.path
        begun = datetime.now(UTC)
        recorded = verification_records.can_be_written(host, path)
        disks, seen = _verified(ctx, host, root, path, inputs, begun)
        if any(disk.problem is not None for disk in disks):
            # Beside a prune an image may be put on another one while it is looked at, which passes for
            # damage. (No lock before: reading a large point takes hours, in which its VM is to be backed up.)
            if recorded:
                _hold(ctx, host, path, inputs.repository)
            disks, seen = _verified(ctx, host, root, path, inputs, begun)
        before = verification_records.read(host, path).verified
        verified = Verification(
            disks=tuple(disk.upon(before.disk(disk.key) if before else None) for disk in disks)
        )
        if recorded:
            verification_records.write(host, path, verified)
            outcome = "passed" if verified.passed else "damaged"
            log.note_of(ctx, host, path, "verify", f"level {inputs.level}: {outcome}")
        else:
            text = verification_records.unrecorded(host, path)
            ctx.once(("unrecorded", text), lambda: ctx.warn(text))
        if not verified.passed:
            raise PointDamagedError(path, host, verified.disks, begun)
        _check_saved(host, path)
        return PointChecked(
            path=path,
            host=host.name,
            level=inputs.level,
            blocks=sum(disk.blocks for disk in disks),
            compared=sum(disk.compared for disk in disks),
            on_host=sum(one.found.compared for one in seen if one.by == "host"),
            reread=sum(one.reread for one in seen),
            tools=next((one.tools for one in seen if one.tools), ""),
            at=begun,
        )

    def preflight(
        self, ctx: Context | None, known: Known[VerifyPointIn, PointChecked]
    ) -> Preflight[PointChecked]:
        settings = known.settings(repository="repository", verify="level", readback="readback")
        if ctx is None or known.inputs is None:
            return Preflight(settings=settings)
        host, _ = locate(ctx, known.inputs.repository)
        programs = (img.QEMU_IMG.observe(ctx, host), nbd_server.QEMU_NBD.observe(ctx, host))
        return Preflight(settings=settings, observations=programs)

    def report(self, out: PointChecked) -> StepReport:
        name = posixpath.basename(out.path)
        some = f"all {out.blocks}" if out.compared == out.blocks else f"{out.compared} of {out.blocks}"
        whole = f"{some} blocks of 1 MiB equal, by their BLAKE3 digests, what was read at the source"
        whole += digested_by(out.tools, out.reread)
        said = whole if out.compared else "tables, chain and digests file are whole; no block was read"
        cells = {"Verified": Cell(value=out.level), "Blocks": Cell(value=out.compared, unit="count")}
        return StepReport(
            rows=(Row(table="Points", key=name, cells=cells),),
            statements=(Statement(about="verified", text=f"{out.path} on {out.host}: {said}."),),
            result=Result(
                act="verify",
                subject=_name_of(out.path),
                noun="point",
                parts=(
                    f"{_HOW_FAR[out.level]} compared",
                    Amount(value=out.compared, noun="block", label="equal", always=False),
                ),
                bytes=out.compared * BLOCK,
                lists={"points": (_name_of(out.path),)},
            ),
        )


_HOW_FAR = {"chain": "every block", "sample": "a sample", "metadata": "tables, chain and digests"}


def _hold(ctx: Context, host: Host, path: str, repository: str) -> None:
    directory = posixpath.dirname(path)
    what = f"VM {layout.slug_of(directory)!r} in repository {repository}"
    hold(ctx, host, directory, what, afresh=True)


def _name_of(path: str) -> str:
    """VM/POINT"""
    return f"{layout.slug_of(posixpath.dirname(path))}/{posixpath.basename(path)}"


def _verified(
    ctx: Context, host: Host, root: str, path: str, inputs: VerifyPointIn, begun: datetime
) -> tuple[tuple[DiskVerified, ...], tuple[ReadBack, ...]]:
    made = manifest.read(host, path)
    if made is None:
        raise StateError(f"{path} on {host.name} no longer has a manifest")
    both = [_disk(ctx, host, root, path, disk, inputs, begun) for disk in made.disks]
    return tuple(disk for disk, _ in both), tuple(seen for _, seen in both)


def _disk(
    ctx: Context, host: Host, root: str, path: str, disk: PointDisk, inputs: VerifyPointIn, begun: datetime
) -> tuple[DiskVerified, ReadBack]:
    level = inputs.level
    blank = DiskVerified(key=disk.key, at=begun, level=level, blocks=-(-disk.capacity // BLOCK), compared=0)
    seen = ReadBack(Differences((), 0), "wire", cached=False)
    try:
        (found,) = stored.read(host, root, path, (disk.key,)).disks
        _check_tables(host, found)
        with ExitStack() as stack:
            local = ctx.scratch / f"{posixpath.basename(path)}-{disk.key}"
            digests = stack.enter_context(stored.receive_digests(host, found, local))
            stack.callback(local.unlink)
            if level != "metadata":
                seen = _compare(ctx, host, found, digests, inputs)
    except (
        stored.ChainError,
        stored.DigestsDamagedError,
        _TablesError,
        StateError,
        img.BadImageError,
    ) as error:
        return blank.model_copy(update={"problem": error.message}), seen
    update = {"compared": seen.found.compared, "different": seen.found.offsets, "readback": seen.by}
    return blank.model_copy(update=update), seen


def _check_saved(host: Host, path: str) -> None:
    """Raises SavedFilesDifferError."""
    if (made := manifest.read(host, path)) is not None:
        saved_files.require(host, path, made)


class _TablesError(SendenseError):
    """qemu-img check found damage."""


def _check_tables(host: Host, disk: StoredDisk) -> None:
    for path in disk.image.images:
        # Somebody may be reading it.
        report = img.check(host, path, force_share=True)
        if report.corruptions or report.check_errors:
            raise _TablesError(f"qemu-img check finds {report.corruptions} corruptions in {path}")


def _compare(ctx: Context, host: Host, disk: StoredDisk, digests: Digests, inputs: VerifyPointIn) -> ReadBack:
    label = f"{disk.point} disk {disk.key}"
    reader = ImageReader(
        ctx,
        host,
        of_point(disk),
        digests,
        DIFFERENCES,
        lambda now: ctx.progress(label, "compare", **asdict(now)),
    )
    some = one_by_one(sample(digests, seed=ctx.run.id), disk.capacity) if inputs.level == "sample" else None
    return reader.read_back(some, inputs.readback)


def _words(disk: DiskVerified) -> str:
    if disk.problem is not None:
        return f"disk {disk.key}: {disk.problem}"
    ended = f"; comparing stopped after {DIFFERENCES} of them" if len(disk.different) >= DIFFERENCES else ""
    return (
        f"disk {disk.key}: {len(disk.different)} of {disk.compared} compared blocks of 1 MiB differ, the "
        f"first at offset {disk.different[0]}{ended}"
    )


def _since(disk: DiskVerified, begun: datetime) -> str:
    if disk.at == begun:
        return ""
    return (
        f" (found on {disk.at:%Y-%m-%d %H:%M} UTC at level {disk.level}: only a verification at level "
        "chain that passes clears it)"
    )
