"""spool-disk: a disk of a restore point as a compressed stream, ready to be uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from runner.base.model import HOW, JobModel, Size
from runner.base.units import MiB, human_bytes
from runner.events.step_report import Cell, Row, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Lifetime, Retained, Step
from steps.copy import nbd
from steps.copy.compare import Compared
from steps.restore import spool
from steps.restore.disk_stream import write_stream
from steps.restore.target_files import WrongPairError
from steps.values.planned_vm import PlannedDisk, PlannedVm
from steps.values.serving import Serving
from steps.values.spooled import SpooledDisk


class SpoolDiskIn(JobModel):
    plan: PlannedVm
    """The VM that it is for"""
    disk: PlannedDisk
    """One of its disks"""
    directory: Annotated[str, HOW] = ""
    """An absolute path on this machine, in which each run has a directory of its own. Without one, it is
    ``$XDG_CACHE_HOME/sendense/spool``, or ``~/.cache/sendense/spool``."""
    limit: Annotated[Size | None, HOW, Field(ge=MiB)] = None
    """Bytes that one run's compressed disks may take there; none: nine tenths of what is free."""

    @field_validator("directory")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and (not value.startswith("/") or ".." in value.split("/") or not value.isprintable()):
            raise ValueError("write an absolute path without '..', such as /var/spool/sendense")
        return value


class SpoolDiskLive(JobModel):
    source: Serving
    """The disk in the restore point"""


class SpoolDisk(Step[SpoolDiskIn, SpoolDiskLive, SpooledDisk]):
    """Compresses a disk of a restore point into the form that ESXi hosts take (streamOptimized), on all
    cores, and keeps it on this machine until it is uploaded: an upload must be told its size beforehand, and
    starts over when it breaks. Every block is compared with its digest of the time of the backup.

    Where the disk may not fit beside those before it, only its size and its digests are kept, and it is
    compressed again while it is uploaded."""

    name = "spool-disk"
    lifetime = Lifetime.KEEP
    In = SpoolDiskIn
    Live = SpoolDiskLive
    Out = SpooledDisk
    tools = (nbd.LIBNBD,)
    example = (
        'uses: spool-disk, each: {disk: "${{ plan.disks }}"}, '
        'with: {plan: "${{ plan }}", disk: "${{ disk }}", source: "${{ source }}"}, retries: 5'
    )
    errors = (
        "the restore point is damaged: disk and offset are named (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
        "a range cannot be read: one is enough",
        "the compressed disk is larger than the 2 TiB that a stream can hold",
    )

    def check(self, ctx: Context, inputs: SpoolDiskIn, recorded: SpooledDisk | None) -> SpooledDisk | None:
        """What is known of the stream stays true without its file: it is made again when it is uploaded."""
        return recorded

    def run(self, ctx: Context, inputs: SpoolDiskIn, live: SpoolDiskLive) -> SpooledDisk:
        disk, path = inputs.disk.stored, _path(ctx, inputs)
        ctx.uses("libnbd", nbd.version())
        if live.source.image != disk.image:
            raise WrongPairError(disk, live.source, str(path))

        def progressed(now: Compared) -> None:
            ctx.progress(
                f"disk {disk.key}", "compress", now.done, now.total, read=now.read, seconds=now.seconds
            )

        with spool.SpoolFile(path) as file:
            fits = spool.has_room(path.parent, inputs.plan.disks, disk.key, inputs.limit)
            if not fits:
                file.drop()
            try:
                made = write_stream(ctx, disk, live.source, file.write, progressed)
                if file.stored:
                    file.sync()
            except BaseException:
                file.drop()
                raise
        if fits and not file.stored:
            ctx.warn(f"{path.parent} became full: disk {disk.key} is compressed again while it is uploaded")
        return SpooledDisk(
            disk_key=disk.key,
            path=str(path) if file.stored else "",
            size=made.stream.size,
            sha1=made.stream.sha1,
            sha256=made.stream.sha256,
            blocks=made.blocks,
        )

    def preflight(
        self, ctx: Context | None, known: Known[SpoolDiskIn, SpooledDisk]
    ) -> Preflight[SpooledDisk]:
        inputs = known.inputs
        if ctx is None or inputs is None or known.out is not None:
            return Preflight()
        place = _path(ctx, inputs).parent
        size = spool.most(inputs.disk)
        if spool.has_room(place, inputs.plan.disks, inputs.disk.key, inputs.limit):
            where = f"at most {human_bytes(size)} in {place.parent}"
        else:
            where = (
                f"not kept, since up to {human_bytes(size)} may not fit into {place.parent} "
                f"({human_bytes(spool.free(place))} free): it is compressed again while it is uploaded"
            )
        return Preflight(
            notes=(f"compressed: {where}",),
            size=inputs.disk.stored.data,
            prospect=SpooledDisk(disk_key=inputs.disk.key, path="", size=size, sha1="", sha256="", blocks=0),
        )

    def undo(self, ctx: Context, inputs: SpoolDiskIn, out: SpooledDisk) -> None:
        spool.remove(Path(out.path) if out.path else _path(ctx, inputs))

    def leftover(self, ctx: Context, inputs: SpoolDiskIn) -> SpooledDisk | None:
        path = _path(ctx, inputs)
        if not path.exists():
            return None
        return SpooledDisk(disk_key=inputs.disk.key, path=str(path), size=0, sha1="", sha256="", blocks=0)

    def retained(self, ctx: Context, inputs: SpoolDiskIn, out: SpooledDisk) -> Retained | None:
        if not out.path or not Path(out.path).exists():
            return None
        return Retained(f"the compressed disk {out.path} ({human_bytes(out.size)})")

    def report(self, out: SpooledDisk) -> StepReport:
        cells = {"Compressed": Cell(value=out.size, unit="bytes")}
        return StepReport(rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),))


def _path(ctx: Context, inputs: SpoolDiskIn) -> Path:
    return spool.directory(inputs.directory, ctx.run.id) / f"disk-{inputs.disk.key}.vmdk"
