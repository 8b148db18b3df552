"""convert-disk: a disk out of a restore point into a VMDK, by qemu-img."""

from __future__ import annotations

import time
from typing import Annotated

from runner.base.errors import CommandError, SendenseError
from runner.base.model import HOW, Duration, JobModel
from runner.base.waiting import until
from runner.events.check_results import wrong
from runner.events.step_report import StepReport
from runner.hosts.files import NoSpaceError
from runner.hosts.host import Child, Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Lifetime, Step
from steps.qemu import img
from steps.restore.target_files import WrongPairError, is_there, row_of
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.target import Target

_SUBFORMATS = {"vmdk": "monolithicSparse", "vmdk-stream": "streamOptimized"}

_LOOK = 0.5
"""Seconds between two looks at how far it is."""


class ConvertDiskIn(JobModel):
    target: Target
    """The file that is to hold the disk"""
    stall_timeout: Annotated[Duration, HOW] = 600.0
    """How long neither the file may grow nor the share that is done before it fails (and is tried again); a
    disk's hundredth of a percent is gibibytes for the largest"""


class ConvertDiskLive(JobModel):
    source: Serving
    """The disk in the restore point"""


class TooFarError(SendenseError):
    def __init__(self, target: Target) -> None:
        super().__init__(
            f"a {target.form} file is written by qemu-img beside its source or beside this program, and "
            f"{target.image.host} is neither: restore to local or to {target.disk.image.host}, or take the "
            "format raw or qcow2"
        )


class ConvertDisk(Step[ConvertDiskIn, ConvertDiskLive, Restored]):
    """Writes a disk out of a restore point as a VMDK. qemu-img does that, from start to end: such a file has
    no place where an interrupted restore could resume, so it starts over."""

    name = "convert-disk"
    lifetime = Lifetime.KEEP
    In = ConvertDiskIn
    Live = ConvertDiskLive
    Out = Restored
    tools = (img.QEMU_IMG,)
    example = (
        'uses: convert-disk, each: {disk: "${{ point.disks }}"}, '
        'with: {target: "${{ target }}", source: "${{ source }}"}, retries: 5'
    )
    errors = (
        "the file is to be on a third host",
        "qemu-img fails (its standard error is shown), or makes no progress",
        "no space is left where the file is",
    )

    def check(self, ctx: Context, inputs: ConvertDiskIn, recorded: Restored | None) -> Restored | None:
        return recorded if recorded is not None and is_there(ctx, recorded) else None

    def run(self, ctx: Context, inputs: ConvertDiskIn, live: ConvertDiskLive) -> Restored:
        target, source = inputs.target, live.source
        if source.image != target.disk.image:
            raise WrongPairError(target.disk, source, target.image.path)
        host = ctx.host(target.image.host)
        ctx.uses(f"qemu-img on {host.name}", img.QEMU_IMG.require(ctx, host))
        began = time.monotonic()
        img.make_empty(host, target.image.path)  # qemu-img keeps the mode of a file that is there
        argv = img.convert_argv(_uri(host, target, source), target.image.path, _SUBFORMATS[target.form])
        child = ctx.start(host, argv)
        _await(ctx, inputs, host, child)
        # qemu-img writes past no cache by itself.
        host.sync(target.image.path)
        return Restored(target=target, seconds=time.monotonic() - began, moved=target.disk.capacity)

    def preflight(self, ctx: Context | None, known: Known[ConvertDiskIn, Restored]) -> Preflight[Restored]:
        if ctx is None or known.inputs is None:
            return Preflight()
        target = known.inputs.target
        host = ctx.host(target.image.host)
        if host.local or host.name == target.disk.image.host:
            return Preflight(observations=(img.QEMU_IMG.observe(ctx, host),))
        subject = f"restored disk {target.disk.key}"
        refused = wrong(subject, "where it is converted", TooFarError(target).message)
        return Preflight(observations=(refused,))

    def report(self, out: Restored) -> StepReport:
        return row_of(out)


def _uri(host: Host, target: Target, source: Serving) -> str:
    """Raises TooFarError."""
    if host.name == source.image.host:
        return source.there
    if host.local:
        return source.uris[0]
    raise TooFarError(target)


def _await(ctx: Context, inputs: ConvertDiskIn, host: Host, child: Child) -> None:
    """Raises CommandError, NoSpaceError, Interrupted."""
    target = inputs.target
    path, capacity = target.image.path, target.disk.capacity
    seen = (0.0, 0)

    def has_moved_or_ended() -> bool:
        nonlocal seen
        found = host.stat(path)
        before, seen = seen, (img.percent(child.stderr()), found.allocated if found else 0)
        return seen != before or child.poll() is not None

    def stalled() -> CommandError:
        return CommandError(host.name, child.argv, None, child.stderr())

    while (code := child.poll()) is None:
        until(has_moved_or_ended, stop=ctx.stop, timeout=inputs.stall_timeout, late=stalled, pause=_LOOK)
        done = int(capacity * seen[0] / 100)
        ctx.progress(f"disk {target.disk.key}", "convert", done, capacity)
    if code:
        said = child.stderr()
        if img.is_full(said):
            raise NoSpaceError(host.name, path)
        raise CommandError(host.name, child.argv, code, said, transient=True)
