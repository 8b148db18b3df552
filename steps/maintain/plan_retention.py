"""retention: which VMs have points that a policy no longer keeps, and which."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from runner.base.model import JobModel, Model, SectionName
from runner.events.result import Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.points import retention_plan, sharing
from steps.points.retention_plan import VmPlan
from steps.repository import retention
from steps.repository.naming import Names
from steps.repository.retention import Policy
from steps.repository.section import brake_of, locate


class Chosen(Model):
    now: datetime
    """The moment that periods and protections were counted from"""
    due: tuple[VmPlan, ...]
    """The VMs of which something goes or is rebuilt"""
    refused: tuple[str, ...]
    """What is left alone though something might go, and why, in sentences"""


class PlanRetentionIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository, an entry of `repositories`"""
    policy: Policy
    """What stays"""
    vms: tuple[str, ...] = ()
    """The VMs it is for, by name, inventory path or instance uuid; none: all that have points there"""
    confirmed: dict[str, tuple[str, ...]] | None = None
    """By instance uuid, the points that somebody was shown and agreed to: no other goes, and other VMs are
    left alone"""


class PlanRetention(Step[PlanRetentionIn, Empty, Chosen]):
    """Decides which restore points go. It reads the manifests of the repository and changes nothing; `prune`
    carries it out, VM by VM."""

    name = "plan-retention"
    formerly = ("retention",)
    lifetime = Lifetime.KEEP
    read_only = True
    In = PlanRetentionIn
    Out = Chosen
    example = "uses: plan-retention, with: {repository: main, policy: {keep-daily: 7, keep-monthly: 12}}"
    errors = (
        "the path is not a repository (is the disk mounted?)",
        "no VM of that name has points there, or several have (they are named)",
    )

    def run(self, ctx: Context, inputs: PlanRetentionIn, live: Empty) -> Chosen:
        host, root = locate(ctx, inputs.repository)
        now = datetime.now(UTC)
        shares = sharing.may_share(host, root)
        names = Names.read(host, root)
        wanted = names.find_all(inputs.vms)
        brake, confirmed = brake_of(ctx, inputs.repository), inputs.confirmed
        plans = retention_plan.of_vms(
            host, names, wanted, inputs.policy, now, shares=shares, brake=brake, confirmed=confirmed
        )
        for plan in plans:
            if plan.braked is not None:
                ctx.warn(f"{plan.label}: {plan.braked}")
        return Chosen(
            now=now,
            due=tuple(plan for plan in plans if plan.due),
            refused=tuple(f"{plan.label}: {plan.refused}." for plan in plans if plan.refused is not None),
        )

    def preflight(self, ctx: Context | None, known: Known[PlanRetentionIn, Chosen]) -> Preflight[Chosen]:
        settings = known.settings(repository="repository")
        if "vms" in known.told:
            named = ", ".join(known.told["vms"]) or "all VMs that have points there"
            settings = (*settings, Setting(name="VMs", text=named))
        return Preflight(settings=(*settings, *retention.settings(known.told)))

    def report(self, out: Chosen) -> StepReport:
        # What goes is told by who deletes it.
        nothing = Result(act="prune", subject="every VM", noun="VM", parts=("no point to delete",))
        return StepReport(
            statements=tuple(Statement(about="noted", text=text) for text in out.refused),
            result=None if out.due else nothing,
        )
