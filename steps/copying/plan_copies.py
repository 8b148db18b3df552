"""plan-copies: which restore points another repository has no copy of."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Annotated

from runner.base.model import Model, SectionName
from runner.base.units import counted
from runner.events.check_results import observe
from runner.events.result import Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.space import Space
from runner.step.step import Empty, Lifetime, Step
from steps.copies import missing, size
from steps.copies.missing import VmCopies
from steps.copies.point import SameRepositoryError
from steps.copies.repacked import require_zstd
from steps.repository import lookup, marker, reader
from steps.repository.naming import Names
from steps.repository.section import locate
from steps.repository.vm_directory import VmDirectory
from steps.values.copy_form import CopyForm


class CopiesPlanned(Model):
    due: tuple[VmCopies, ...]
    """The VMs of which a point is missing"""
    left: tuple[str, ...]
    """Newer points that are not copied, and why, in sentences without a full stop"""
    space: Space | None = None
    """What all of them will take; None where there is nothing to copy"""


class PlanCopiesIn(CopyForm):
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
        "the copies will not fit: what they take at least is not free there",
        "`compress: zstd`, and qemu-img there is older than 5.1",
    )

    def run(self, ctx: Context, inputs: PlanCopiesIn, live: Empty) -> CopiesPlanned:
        (host, root), (other, there) = locate(ctx, inputs.repository), locate(ctx, inputs.to)
        if marker.require(host, root).uuid == marker.require(other, there).uuid:
            raise SameRepositoryError(inputs.repository, inputs.to)
        if inputs.compress is not None:
            require_zstd(ctx, other)
        copies = reader.read_all(other, there)
        missing.refuse_others(inputs.to, copies.vms.values())

        def of(vm: VmDirectory) -> VmDirectory:
            return copies.vms.get(vm.name) or VmDirectory(posixpath.join(there, vm.name))

        if inputs.point is not None:
            directory, point = posixpath.split(lookup.find(host, root, inputs.point).path)
            vm = reader.read(host, directory)
            found = [(missing.of_point(vm, of(vm), point, inputs), tuple[str, ...]())]
        else:
            vms = Names.read(host, root).find_all(inputs.vms)
            found = [missing.of_vm(vm, of(vm), inputs) for vm in vms]
        due = tuple(vm for vm, _ in found if vm.points)
        written = sum(
            size.unfinished(other, copies.vms[vm.name].unfinished) for vm in due if vm.name in copies.vms
        )
        return CopiesPlanned(
            due=due,
            left=tuple(text for _, left in found for text in left),
            space=size.space(other, there, _bounds(due).but(written), _told(due)) if due else None,
        )

    def preflight(
        self, ctx: Context | None, known: Known[PlanCopiesIn, CopiesPlanned]
    ) -> Preflight[CopiesPlanned]:
        settings = known.settings(**{"repository": "repository", "copies in": "to"})
        if ctx is not None and known.inputs is not None and known.inputs.compress is not None:
            host, _ = locate(ctx, known.inputs.to)
            looked_at = "that it can compress: `compress: zstd`"
            zstd = observe(f"host {host.name}", looked_at, lambda: f"qemu-img {require_zstd(ctx, host)}")
            return Preflight(settings=settings, observations=(zstd,))
        notes = () if known.out is None else _foretold(known.out)
        space = None if known.out is None else known.out.space
        return Preflight(settings=settings, notes=notes, space=space)

    def report(self, out: CopiesPlanned) -> StepReport:
        nothing = Result(act="copy", subject="every VM", noun="VM", parts=("nothing to copy",))
        return StepReport(
            statements=tuple(Statement(about="noted", text=f"{text}.") for text in out.left),
            result=None if out.due else nothing,
        )


def _bounds(due: Sequence[VmCopies]) -> size.Bounds:
    return size.Bounds(sum(vm.least for vm in due), sum(vm.most for vm in due))


def _told(due: Sequence[VmCopies]) -> str:
    points = counted(sum(len(vm.points) for vm in due), "point")
    return f"copies of {points} of {due[0].vm if len(due) == 1 else counted(len(due), 'VM')}"


def _foretold(out: CopiesPlanned) -> tuple[str, ...]:
    due = (
        f"{one.vm}: {counted(len(one.points), 'point')} to copy, from {one.points[0]} on" for one in out.due
    )
    return (*(due if out.due else ("nothing to copy",)), *out.left)
