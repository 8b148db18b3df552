"""cleanup: what the run made for itself is taken back, and the report says what."""

from __future__ import annotations

from runner.base.model import Model
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step


class Cleaned(Model):
    released: tuple[str, ...]
    """In words, each thing that was taken back."""


class Cleanup(Step[Empty, Empty, Cleaned]):
    """Takes back what is held for the run only, and reports it. That is the snapshot, once it is due. A job
    without this step unwinds all the same, at its end."""

    name = "cleanup"
    lifetime = Lifetime.KEEP
    In = Empty
    Out = Cleaned
    example = "uses: cleanup, needs: [publish], when: always"
    errors = ("something could not be taken back (named, with the command that lets go of it)",)

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Cleaned:
        return Cleaned(released=ctx.unwind())

    def report(self, out: Cleaned) -> StepReport:
        return StepReport(
            statements=tuple(Statement(about="how", text=f"Released: {what}.") for what in out.released)
        )
