"""plan-drill: how a restore point is booted, decided before anything is started."""

from __future__ import annotations

from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.drill import words
from steps.drill.installed import KVM, OVMF
from steps.qemu.system import QEMU_SYSTEM
from steps.values.drill import DrillOptions
from steps.values.planned_drill import PlannedDrill
from steps.values.stored_point import StoredPoint


class PlanDrillIn(DrillOptions):
    point: StoredPoint
    """The restore point, with the disks that are wanted"""


class PlanDrill(Step[PlanDrillIn, Empty, PlannedDrill]):
    """Decides how a restore point is booted in QEMU, from the configuration that was saved with it: on which
    host, with which devices, memory and CPUs, what is otherwise than the VM had it, and what must be seen for
    a pass. Starts nothing."""

    name = "plan-drill"
    lifetime = Lifetime.KEEP
    read_only = True
    In = PlanDrillIn
    Out = PlannedDrill
    tools = (QEMU_SYSTEM, OVMF, KVM)
    example = 'uses: plan-drill, with: {point: "${{ point }}", expect: [{serial: "login:"}]}'
    errors = (
        "the host has no QEMU, or for a VM with EFI no OVMF (what to install is said)",
        "the point's saved configuration is missing or damaged",
        "the record of an earlier drill of the point is damaged",
    )

    def check(self, ctx: Context, inputs: PlanDrillIn, recorded: PlannedDrill | None) -> PlannedDrill | None:
        return recorded

    def run(self, ctx: Context, inputs: PlanDrillIn, live: Empty) -> PlannedDrill:
        from steps.drill import planning

        return planning.plan(ctx, inputs.point, inputs)

    def preflight(
        self, ctx: Context | None, known: Known[PlanDrillIn, PlannedDrill]
    ) -> Preflight[PlannedDrill]:
        settings = words.settings(known.told, known.out)
        if known.out is None:
            if ctx is None or known.inputs is None:
                return Preflight(settings=settings)
            from steps.drill import needs

            return Preflight(
                settings=settings, observations=needs.of_accelerator(ctx, known.inputs.point, known.inputs)
            )
        return Preflight(
            settings=settings, notes=words.otherwise(known.out), decisions=(words.decision(known.out),)
        )

    def report(self, out: PlannedDrill) -> StepReport:
        return StepReport(rows=words.rows(out))
