"""plan-copies: which restore points another repository has no copy of."""

from __future__ import annotations

import posixpath
from typing import Annotated

from runner.base.model import JobModel, Model, SectionName
from runner.base.units import counted
from runner.events.result import Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.copies import missing
from steps.copies.missing import VmCopies
from steps.copies.point import SameRepositoryError
from steps.repository import lookup, marker, reader
from steps.repository.naming import Names
from steps.repository.section import locate
from steps.repository.vm_directory import VmDirectory


class CopiesPlanned(Model):
    due: tuple[VmCopies, ...]
    """The VMs of which a point is missing"""
    left: tuple[str, ...]
    """Newer points that are not copied, and why, in sentences without a full stop"""


class PlanCopiesIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """Whose restore points, an entry of `repositories`; nothing is written there"""
    to: Annotated[str, SectionName("repositories")]
    """Where copies are kept, an entry of `repositories`, with nothing but copies in it"""
    vms: tuple[str, ...] = ()
    """The VMs it is for, by name, inventory path or instance uuid; none: all that have points there"""
    point: str | None = None
    """The one point to copy, as for open-point; without it all good ones that are newer than the newest
    copy"""


class PlanCopies(Step[PlanCopiesIn, Empty, CopiesPlanned]):
    """Decides which restore points are copied. It reads the manifests of both repositories and changes
    nothing; `copy-points` carries it out, VM by VM."""

    name = "plan-copies"
    lifetime = Lifetime.KEEP
    read_only = True
    In = PlanCopiesIn
    Out = CopiesPlanned
    example = "uses: plan-copies, with: {repository: main, to: offsite}"
    errors = (
        "a path is not a repository (is the disk mounted?), or both are the same one",
        "the other repository has points that are no copies",
        "no VM of that name has points there, or several have (they are named)",
        "the point that was named is not good",
    )

    def run(self, ctx: Context, inputs: PlanCopiesIn, live: Empty) -> CopiesPlanned:
        (host, root), (other, there) = locate(ctx, inputs.repository), locate(ctx, inputs.to)
        if marker.require(host, root).uuid == marker.require(other, there).uuid:
            raise SameRepositoryError(inputs.repository, inputs.to)
        copies = reader.read_all(other, there)
        missing.refuse_others(inputs.to, copies.vms.values())

        def of(vm: VmDirectory) -> VmDirectory:
            return copies.vms.get(vm.name) or VmDirectory(posixpath.join(there, vm.name))

        if inputs.point is not None:
            directory, point = posixpath.split(lookup.find(host, root, inputs.point).path)
            vm = reader.read(host, directory)
            found = [(missing.of_point(vm, of(vm), point), tuple[str, ...]())]
        else:
            vms = Names.read(host, root).find_all(inputs.vms)
            found = [missing.of_vm(vm, of(vm)) for vm in vms]
        return CopiesPlanned(
            due=tuple(vm for vm, _ in found if vm.points),
            left=tuple(text for _, left in found for text in left),
        )

    def preflight(
        self, ctx: Context | None, known: Known[PlanCopiesIn, CopiesPlanned]
    ) -> Preflight[CopiesPlanned]:
        notes = tuple(
            f"{one.vm}: {counted(len(one.points), 'point')} to copy, from {one.points[0]} on"
            for one in (() if known.out is None else known.out.due)
        )
        return Preflight(settings=known.settings(repository="repository", to="copies in"), notes=notes)

    def report(self, out: CopiesPlanned) -> StepReport:
        nothing = Result(act="copy", subject="every VM", noun="VM", parts=("nothing to copy",))
        return StepReport(
            statements=tuple(Statement(about="noted", text=f"{text}.") for text in out.left),
            result=None if out.due else nothing,
        )
