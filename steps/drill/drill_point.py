"""drill-point: a restore point is booted, and what is seen is recorded with it."""

from __future__ import annotations

from runner.base.model import JobModel
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.drill import words
from steps.qemu import nbd_server
from steps.qemu.system import QEMU_SYSTEM
from steps.values.drill import Drilled
from steps.values.planned_drill import PlannedDrill


class DrillPointIn(JobModel):
    planned: PlannedDrill
    """How it is booted"""


class DrillPoint(Step[DrillPointIn, Empty, Drilled]):
    """Boots a restore point in QEMU, on its disks served for reading only: what the guest writes goes to a
    bounded overlay, and is gone afterwards. Watches for what is expected, and records the verdict with the
    point, with a picture of the console and what the serial port said."""

    name = "drill-point"
    lifetime = Lifetime.KEEP
    In = DrillPointIn
    Out = Drilled
    makes = ("drills",)
    tools = (QEMU_SYSTEM, nbd_server.QEMU_NBD)
    example = 'uses: drill-point, with: {planned: "${{ plan }}"}'
    errors = (
        "it does not boot, and that can be told: no bootable disk, a kernel panic, a stop screen (exit "
        "code 5)",
        "not all that is expected was seen in time: the drill is undecided (exit code 1)",
        "QEMU could not be started, or ended early (what it said is shown)",
        "the host has not the memory or the disk that the job allows it to take",
        "the point was deleted while it was drilled",
    )

    def check(self, ctx: Context, inputs: DrillPointIn, recorded: Drilled | None) -> Drilled | None:
        """What a killed run recorded with the point is not done again; one that was killed before that
        starts over."""
        if recorded is not None:
            return recorded
        from steps.drill import drilling

        return drilling.finished(ctx, inputs.planned)

    def run(self, ctx: Context, inputs: DrillPointIn, live: Empty) -> Drilled:
        from steps.drill import drilling

        return drilling.drill(ctx, inputs.planned)

    def preflight(self, ctx: Context | None, known: Known[DrillPointIn, Drilled]) -> Preflight[Drilled]:
        if ctx is None or known.inputs is None or known.out is not None:
            return Preflight()
        from steps.drill import needs

        return needs.of(ctx, known.inputs.planned)

    def report(self, out: Drilled) -> StepReport:
        return words.report(out)
