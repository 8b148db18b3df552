"""cleanup: releases what the run made for itself, and reports it."""

from __future__ import annotations

from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step
from steps.values.cleaned import Cleaned


class Cleanup(Step[Empty, Empty, Cleaned]):
    """Releases what is held for the run only, and reports it. That is the snapshot, once it is due. A job
    without this step unwinds all the same, at its end."""

    name = "cleanup"
    lifetime = Lifetime.KEEP
    In = Empty
    Out = Cleaned
    example = "uses: cleanup, needs: [publish], when: always"
    errors = ("cleanup failed for something (named, with the command that releases it)",)

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Cleaned:
        return Cleaned(released=ctx.unwind())

    def report(self, out: Cleaned) -> StepReport:
        return StepReport(
            statements=tuple(Statement(about="how", text=f"Released: {what}.") for what in out.released)
        )
