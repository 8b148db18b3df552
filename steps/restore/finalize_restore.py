"""finalize-restore: restored files get their names."""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.base.model import JobModel, Model
from runner.base.units import counted, human_bytes
from runner.events.result import Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step
from steps.repository import layout
from steps.restore.target_files import TargetExistsError, is_delivered
from steps.trail import log
from steps.values.checked import Checked
from steps.values.target import Target


class Delivered(Model):
    point: str
    """Name of the restore point"""
    host: str
    """The job's name of the host that the files are on"""
    files: tuple[str, ...]
    """Their absolute paths there"""
    source: str = ""
    """The point: VM/POINT"""
    size: int = 0
    """Bytes of their disks, every block of which was compared"""
    repository_host: str
    """The job's name of the host that the restore point is on"""
    vm_files: str
    """Absolute path there of the VM's saved configuration and NVRAM"""


class FinalizeRestoreIn(JobModel):
    disks: tuple[Checked, ...]
    """Everything that was restored, and compared"""


class NothingToDeliverError(SendenseError):
    def __init__(self) -> None:
        super().__init__("no disk was given, so nothing was restored; name at least one disk of the point")


class FinalizeRestore(Step[FinalizeRestoreIn, Empty, Delivered]):
    """Gives the files that were restored their final names, once all of them were compared. A file that has
    such a name already is replaced only if the job says so."""

    name = "finalize-restore"
    formerly = ("deliver",)
    commits = True
    lifetime = Lifetime.KEEP
    In = FinalizeRestoreIn
    Out = Delivered
    makes = ("points",)
    example = 'uses: finalize-restore, with: {disks: "${{ check }}"}'
    errors = ("a file of that name was made meanwhile",)

    def check(self, ctx: Context, inputs: FinalizeRestoreIn, recorded: Delivered | None) -> Delivered | None:
        if not inputs.disks:
            return None  # nor can there be: such a run is only there to be discarded
        targets = _targets(inputs)
        done = all(is_delivered(ctx.host(target.image.host), target) for target in targets)
        return _delivered(targets) if done else None

    def run(self, ctx: Context, inputs: FinalizeRestoreIn, live: Empty) -> Delivered:
        targets = _targets(inputs)
        for target in targets:
            _deliver(ctx, target)
        out = _delivered(targets)
        text = f"to {posixpath.dirname(out.files[0])} on {out.host}"
        log.note_of(ctx, ctx.host(out.repository_host), posixpath.dirname(out.vm_files), "restore", text)
        return out

    def report(self, out: Delivered) -> StepReport:
        made = [
            Statement(about="made", text=f"{path} on {out.host} is restored from {out.point}.")
            for path in out.files
        ]
        beside = f"The VM's configuration and NVRAM are in {out.vm_files} on {out.repository_host}."
        result = Result(
            act="restore",
            subject=out.source or out.point,
            noun="point",
            parts=(
                f"{counted(len(out.files), 'disk')} of {human_bytes(out.size)} restored",
                "every block verified",
            ),
            made=f"in {posixpath.dirname(out.files[0])} on {out.host}",
            bytes=out.size,
            lists={"points": (out.source or out.point,)},
        )
        return StepReport(statements=(*made, Statement(about="noted", text=beside)), result=result)


def _targets(inputs: FinalizeRestoreIn) -> tuple[Target, ...]:
    if not inputs.disks:
        raise NothingToDeliverError
    return tuple(checked.target for checked in inputs.disks)


def _deliver(ctx: Context, target: Target) -> None:
    """Twice is fine: a crash may have come between."""
    host = ctx.host(target.image.host)
    if is_delivered(host, target):
        return
    try:
        host.rename(target.image.path, target.final, replace=target.overwrite)
    except FileExistsError as error:
        raise TargetExistsError(target.final, host.name) from error


def _delivered(targets: tuple[Target, ...]) -> Delivered:
    disk = targets[0].disk
    point = posixpath.dirname(disk.image.path)
    return Delivered(
        point=disk.point,
        host=targets[0].image.host,
        files=tuple(target.final for target in targets),
        source=f"{layout.slug_of(posixpath.dirname(point))}/{disk.point}",
        size=sum(target.disk.capacity for target in targets),
        repository_host=disk.image.host,
        vm_files=posixpath.join(point, layout.VM_FILES),
    )
