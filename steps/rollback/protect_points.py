"""protect-points: nothing deletes the restore points that a rollback stands on for some days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from runner.base.model import Duration, JobModel
from runner.base.units import DAY, human_seconds
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.repository import verification_records
from steps.trail import log
from steps.values.rollback import ProtectedPoints
from steps.values.stored_point import StoredPoint

LASTS = 7 * DAY
"""Seconds: until then somebody has seen whether the VM is as it should be."""


class ProtectPointsIn(JobModel):
    point: StoredPoint
    """A restore point that is to stay"""
    present: StoredPoint | None = None
    """Another one"""
    reason: str
    """Why, for anyone who tries to delete one of them"""
    lasts: Annotated[Duration, ...] = LASTS
    """For how long; a protection that is there and lasts longer is left as it is"""


class ProtectPoints(Step[ProtectPointsIn, Empty, ProtectedPoints]):
    """Protects restore points from deletion, as `sendense protect` does. They stay protected when the run has
    ended; `sendense protect --lift` removes it."""

    name = "protect-points"
    lifetime = Lifetime.KEEP
    In = ProtectPointsIn
    Out = ProtectedPoints
    example = 'uses: protect-points, with: {point: "${{ point }}", reason: pgtest1 was rolled back to it}'
    errors = ("what protects a restore point already cannot be read",)

    def check(
        self, ctx: Context, inputs: ProtectPointsIn, recorded: ProtectedPoints | None
    ) -> ProtectedPoints | None:
        if recorded is None:
            return None
        host, now = ctx.host(recorded.host), datetime.now(UTC)
        protected = all(verification_records.protection(host, path, now) for path in recorded.paths)
        return recorded if protected else None

    def run(self, ctx: Context, inputs: ProtectPointsIn, live: Empty) -> ProtectedPoints:
        until = datetime.now(UTC) + timedelta(seconds=inputs.lasts)
        paths = tuple(dict.fromkeys(point.path for point in _points(inputs)))
        for path in paths:
            host = ctx.host(inputs.point.host)
            verification_records.protect(host, path, until, inputs.reason)
            log.note_of(ctx, host, path, "protect", inputs.reason)
        return ProtectedPoints(host=inputs.point.host, paths=paths)

    def preflight(
        self, ctx: Context | None, known: Known[ProtectPointsIn, ProtectedPoints]
    ) -> Preflight[ProtectedPoints]:
        if known.inputs is None:
            return Preflight()
        names = " and ".join(dict.fromkeys(point.point for point in _points(known.inputs)))
        return Preflight(notes=(f"{names} protected from deletion for {human_seconds(known.inputs.lasts)}",))

    def report(self, out: ProtectedPoints) -> StepReport:
        said = (
            Statement(about="noted", text=f"{path} on {out.host} is protected from deletion.")
            for path in out.paths
        )
        return StepReport(statements=tuple(said))


def _points(inputs: ProtectPointsIn) -> tuple[StoredPoint, ...]:
    return (inputs.point,) if inputs.present is None else (inputs.point, inputs.present)
