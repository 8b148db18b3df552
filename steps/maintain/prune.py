"""prune: of one VM, the points that a policy no longer keeps are deleted, and what was built on them is
rebuilt before."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel, SectionName
from runner.base.units import counted, human_bytes
from runner.events.result import Amount, Result
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Lifetime, Step
from steps.points import retention_plan, sharing
from steps.points.pruning import Pruning
from steps.points.rebase import Rebuilding
from steps.points.retention_plan import NoRoomError, VmPlan
from steps.qemu import img, nbd_server
from steps.repository import layout, marker, retention, vm_place
from steps.repository.retention import Policy
from steps.repository.section import BrakeLimits, brake_of, locate
from steps.repository.vm_lock import hold
from steps.values.pruned import Pruned
from steps.values.reservation import Reservation


class PruneIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository, an entry of `repositories`"""
    vm: str
    """The VM's instance uuid"""
    policy: Policy
    """What is kept"""
    planned: VmPlan | None = None
    """What was decided before, by `retention`: nothing else is deleted; without it, it is decided now"""
    now: datetime | None = None
    """When that was"""


class PruneLive(JobModel):
    reserved: Reservation | None = None
    """The VM's lock, where this run holds it already; without it, it is taken"""


class Prune(Step[PruneIn, PruneLive, Pruned]):
    """Deletes the points of one VM that a policy does not keep. What is built on them is rebuilt first, on
    copies, and compared with the digests made at the source (of what was not written, a sample), before it
    takes its place. The VM's lock is held. Killed at any moment, every point that stays reads as before, and
    the next prune resumes."""

    name = "prune"
    lifetime = Lifetime.KEEP
    In = PruneIn
    Live = PruneLive
    Out = Pruned
    tools = (img.QEMU_IMG, nbd_server.QEMU_NBD)
    example = (
        'uses: prune, with: {repository: main, vm: "${{ discover.vm.instance_uuid }}", policy: {keep-daily: '
        '7}, reserved: "${{ reserve }}"}, needs: [publish]'
    )
    errors = (
        "another run holds the VM (exit code 3; the holder is named)",
        "there is not enough space for the images that must be rebuilt: nothing was changed",
        "a rebuilt image differs from what was read at the source: nothing was replaced or deleted (exit "
        "code 5)",
    )

    def check(self, ctx: Context, inputs: PruneIn, recorded: Pruned | None) -> Pruned | None:
        return recorded

    def run(self, ctx: Context, inputs: PruneIn, live: PruneLive) -> Pruned:
        host, root = locate(ctx, inputs.repository)
        marker.require(host, root)
        directory = vm_place.find(host, root, inputs.vm)
        if directory is None:
            return Pruned(
                vm=inputs.vm, instance_uuid=inputs.vm, dropped=(), rebuilt=(), notes=("It has no points.",)
            )
        self._lock(ctx, host, directory, inputs, live)
        img.QEMU_IMG.require(ctx, host)
        rebuilding = Rebuilding(ctx, host, root, directory, sharing.can_share(host, directory))
        brake = brake_of(ctx, inputs.repository)
        return Pruning(rebuilding, inputs.policy, inputs.planned, inputs.now, brake).run()

    def preflight(self, ctx: Context | None, known: Known[PruneIn, Pruned]) -> Preflight[Pruned]:
        settings, inputs = retention.settings(known.told), known.inputs
        if ctx is None or inputs is None or known.out is not None:
            return Preflight(settings=settings)
        host, root = locate(ctx, inputs.repository)
        programs = (img.QEMU_IMG.observe(ctx, host), nbd_server.QEMU_NBD.observe(ctx, host))
        try:
            found = _foretold(host, root, inputs, brake_of(ctx, inputs.repository))
        except Interrupted:
            raise
        except SendenseError as error:
            # A backup is not kept from its point by what it would delete after it.
            found = Preflight(problems=(error.message,))
        return replace(found, settings=settings, observations=programs)

    def report(self, out: Pruned) -> StepReport:
        said = [Statement(about="noted", text=f"{out.vm}: {note}") for note in out.notes]
        said += [Statement(about="made", text=f"{out.vm}: {text}.") for text in out.rebuilt]
        cells = {
            "Deleted": Cell(value=len(out.dropped), unit="count"),
            "Rebuilt": Cell(value=len(out.rebuilt), unit="count"),
            "Freed": Cell(value=sum(point.freed for point in out.dropped), unit="bytes"),
        }
        gone = (
            Row(
                table="Deleted points",
                key=f"{out.vm}/{point.point}",
                cells={"Freed": Cell(value=point.freed, unit="bytes"), "Why": Cell(value=point.why)},
            )
            for point in out.dropped
        )
        return StepReport(
            rows=(Row(table="Pruned", key=out.vm, cells=cells), *gone),
            statements=tuple(said),
            result=_result(out),
        )

    def _lock(self, ctx: Context, host: Host, directory: str, inputs: PruneIn, live: PruneLive) -> None:
        lock = posixpath.join(directory, layout.LOCK)
        if live.reserved is None:
            name = layout.slug_of(directory) if inputs.planned is None else inputs.planned.label
            hold(ctx, host, directory, f"VM {name!r} in repository {inputs.repository}")
        elif (live.reserved.repository, live.reserved.lock) != (inputs.repository, lock):
            raise SendenseError(
                f"the lock {live.reserved.lock} is not that of {directory}: give prune the VM's own"
            )


def _foretold(host: Host, root: str, inputs: PruneIn, brake: BrakeLimits | None) -> Preflight[Pruned]:
    """Raises what keeps the VM's points from being read."""
    planned = inputs.planned
    if planned is None:
        # In a backup, whose point is not there yet.
        now = datetime.now(UTC)
        return _foreseen(retention_plan.foreseen(host, root, inputs.vm, inputs.policy, now, brake))
    notes = [f"to delete: {counted(len(planned.plan.drops), 'point')}, {human_bytes(planned.work.freed)}"]
    if planned.plan.moves:
        notes.append(f"to rebuild: {counted(len(planned.plan.moves), 'image')}")
    if planned.work.copied:
        notes.append(planned.work.sentence)
    elif any(move.onto is None for move in planned.plan.moves):
        notes.append(sharing.SHARED)
    free = host.free_bytes(root)
    problems = (NoRoomError(host, planned, free).message,) if free < planned.work.room else ()
    drops = tuple(f"{planned.vm}/{point}" for point in planned.plan.drops)
    return Preflight(size=planned.work.copied or None, removes=drops, notes=tuple(notes), problems=problems)


def _foreseen(after: VmPlan | None) -> Preflight[Pruned]:
    if after is None:
        return Preflight(notes=("the VM has no restore points yet: nothing to delete",))
    if after.refused is not None:
        return Preflight(notes=(f"nothing would be pruned: {after.refused}",))
    if after.braked is not None:
        return Preflight(notes=(after.braked,))
    drops = tuple(f"{after.vm}/{point}" for point in after.plan.drops)
    told = (
        f"to delete: {counted(len(drops), 'point')}, {human_bytes(after.work.freed)}"
        if drops
        else "no point to delete"
    )
    return Preflight(
        removes=drops, notes=(f"{told}, once this run has published a good point; evaluated again then",)
    )


def _result(out: Pruned) -> Result:
    freed = sum(point.freed for point in out.dropped)
    return Result(
        act="prune",
        subject=out.vm,
        noun="VM",
        parts=(
            Amount(value=len(out.dropped), noun="point", label="deleted"),
            Amount(value=freed, noun="bytes", label="freed"),
            Amount(value=len(out.rebuilt), noun="image", label="rebuilt", always=False),
        ),
        bytes=freed,
    )
