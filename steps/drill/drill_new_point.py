"""drill-new-point: the point that a backup has just made is drilled, where that is due again."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel, Model, SectionName
from runner.base.units import human_seconds
from runner.events.check_results import Observation
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.drill import words
from steps.points import stored
from steps.qemu.system import QEMU_SYSTEM
from steps.repository import layout, reader
from steps.repository.section import locate
from steps.values.cleaned import Cleaned
from steps.values.drill import Drilled, DrillPolicy
from steps.values.planned_drill import PlannedDrill
from steps.values.published import Published


class DrillNewPointIn(JobModel):
    point: Published
    """The point"""
    repository: Annotated[str, SectionName("repositories")]
    """The repository that it is in, an entry of `repositories`"""
    policy: DrillPolicy
    """When it is drilled, and how"""
    cleaned: Cleaned
    """What was released before: a run whose snapshot stays is not kept busy by a drill"""


class NewPointDrilled(Model):
    point: str
    """VM/POINT"""
    drilled: Drilled | None = None
    """What came of it; None: it was not drilled"""
    skipped: str = ""
    """Why it was not to be, in a sentence without a full stop"""
    trouble: str = ""
    """What kept it from being drilled, in a sentence without a full stop"""


class DrillNewPoint(Step[DrillNewPointIn, Empty, NewPointDrilled]):
    """Drills the point that a backup has just made, unless a point of its VM passed a drill lately. It is the
    end of a backup that is good already: a drill that fails, that is undecided or that cannot be made is a
    warning, and the run is no less done."""

    name = "drill-new-point"
    lifetime = Lifetime.KEEP
    In = DrillNewPointIn
    Out = NewPointDrilled
    makes = ("drills",)
    tools = (QEMU_SYSTEM,)
    example = (
        'uses: drill-new-point, with: {point: "${{ publish }}", repository: main, policy: {every: 7d, '
        'expect: [{serial: "login:"}]}, cleaned: "${{ cleanup }}"}, when: always'
    )
    errors = ("none: what keeps it from its work is a warning",)

    def check(
        self, ctx: Context, inputs: DrillNewPointIn, recorded: NewPointDrilled | None
    ) -> NewPointDrilled | None:
        return recorded

    def run(self, ctx: Context, inputs: DrillNewPointIn, live: Empty) -> NewPointDrilled:
        point = f"{layout.slug_of(posixpath.dirname(inputs.point.path))}/{inputs.point.point}"
        if ctx.stop.is_set():
            return NewPointDrilled(point=point, skipped="the run was told to stop")
        try:
            if skipped := _not_due(ctx, inputs):
                return NewPointDrilled(point=point, skipped=skipped)
            drilled = _drill(ctx, inputs)
        except Interrupted:
            return NewPointDrilled(point=point, skipped="the run was told to stop")
        except SendenseError as error:
            ctx.warn(f"{point} was not drilled: {error.message}")
            return NewPointDrilled(point=point, trouble=error.message)
        if (alarm := words.alarm(drilled)) is not None:
            ctx.warn(alarm.text)
        return NewPointDrilled(point=point, drilled=drilled)

    def preflight(
        self, ctx: Context | None, known: Known[DrillNewPointIn, NewPointDrilled]
    ) -> Preflight[NewPointDrilled]:
        policy = known.told.get("policy")
        if not isinstance(policy, DrillPolicy):
            return Preflight()
        due = f"when none passed for {human_seconds(policy.every)}" if policy.every else "each new point"
        settings = (Setting(name="drill", text=due), *words.expected(words.options(policy)))
        if ctx is None or known.out is not None:
            return Preflight(settings=settings)
        return Preflight(settings=settings, observations=_has_qemu(ctx, policy, known.told))

    def report(self, out: NewPointDrilled) -> StepReport:
        if out.skipped:
            return StepReport(statements=(Statement(about="how", text=f"Not drilled: {out.skipped}."),))
        if out.drilled is None:
            text = f"{out.point} was not drilled: {out.trouble}."
            return StepReport(
                statements=(Statement(about="noted", text=text),), result=words.not_drilled(out.point)
            )
        # The run's warning has the sentence.
        found = words.report(out.drilled)
        return found.model_copy(update={"alarm": None, "result": words.after_backup(out.drilled)})


def _not_due(ctx: Context, inputs: DrillNewPointIn) -> str:
    """Why it is not to be drilled; empty where it is. Raises what keeps the VM's points from being read."""
    host = ctx.host(inputs.point.host)
    vm = reader.read(host, posixpath.dirname(inputs.point.path))
    passed = [
        (entry.marks.drilled.passed_at, entry.point)
        for entry in vm.entries
        if entry.marks.drilled is not None and entry.marks.drilled.passed_at is not None
    ]
    if not passed:
        return ""
    at, point = max(passed)
    age = (datetime.now(UTC) - at).total_seconds()
    if age >= inputs.policy.every:
        return ""
    every = human_seconds(inputs.policy.every)
    return f"{point} passed a drill {human_seconds(age)} ago, which is asked for every {every}"


def _drill(ctx: Context, inputs: DrillNewPointIn) -> Drilled:
    """That it could not be made is recorded with the point too. Raises what kept it from that."""
    from steps.drill import drilling, planning

    host, root = locate(ctx, inputs.repository)
    planned: PlannedDrill | None = None
    try:
        point = stored.read(host, root, inputs.point.path)
        planned = planning.plan(ctx, point, inputs.policy)
        return drilling.drill(ctx, planned)
    except Interrupted:
        raise
    except SendenseError as error:
        try:
            drilling.not_made(ctx, planned, host, inputs.point.path, error)
        except Interrupted:
            raise
        except SendenseError as unrecorded:
            error.add(f"that is not recorded with the point either: {unrecorded.message}")
        raise


def _has_qemu(ctx: Context, policy: DrillPolicy, told: Mapping[str, Any]) -> tuple[Observation, ...]:
    """Of the host that would boot it. A backup begins without it all the same."""
    if policy.host is not None:
        hosts = [ctx.host(policy.host)]
    elif "repository" in told:
        hosts = [locate(ctx, told["repository"])[0], ctx.host("local")]
    else:
        return ()
    found = [QEMU_SYSTEM.observe(ctx, host) for host in hosts]
    good = next((one for one in found if one.state == "good"), None)
    return (good or found[0].model_copy(update={"state": "noted"}),)
