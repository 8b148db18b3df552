"""copy-points: restore points of one VM, into another repository."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

from runner.base.model import Model, SectionName
from runner.base.units import MiB
from runner.events.result import Amount, Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.items import Item
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.copies.missing import VmCopies
from steps.copies.point import Copying, PointCopied
from steps.copy import nbd
from steps.points.place import Place
from steps.qemu import img, nbd_server
from steps.repository import layout
from steps.repository.section import locate
from steps.values.copy_form import CopyForm


class CopyPointsIn(CopyForm):
    repository: Annotated[str, SectionName("repositories")]
    """Whose restore points, an entry of `repositories`; nothing is written there"""
    to: Annotated[str, SectionName("repositories")]
    """Where copies are kept, an entry of `repositories`"""
    vm: VmCopies
    """The VM, and which of its points"""


class PointsCopied(Model):
    vm: str
    """The VM's name"""
    to: str
    """The job's name of the repository"""
    points: tuple[PointCopied, ...]
    """Those that were copied, the oldest first"""


class CopyPoints(Step[CopyPointsIn, Empty, PointsCopied]):
    """Copies restore points of one VM into another repository, the oldest first: of each disk the blocks that
    the copy before it does not have, each compared with its digest of the time of the backup, and read back
    there. A point gets its name once all of it is on stable storage. An interrupted copy resumes inside the
    image. The source is only read. Limits count it as one disk at a time."""

    name = "copy-points"
    lifetime = Lifetime.KEEP
    In = CopyPointsIn
    Out = PointsCopied
    makes = ("copies",)
    tools = (img.QEMU_IMG, nbd_server.QEMU_NBD, nbd.LIBNBD)
    example = (
        'uses: copy-points, each: {vm: "${{ plan.due }}"}, '
        'with: {repository: main, to: offsite, vm: "${{ vm }}"}'
    )
    errors = (
        "another run works on the VM's copies (exit code 3; the holder is named)",
        "a block or a file of the original does not match its digest: the point is not copied (exit code 5)",
        "what was copied does not read back as its digest says (exit code 5)",
        "no space is left where the copies are",
    )

    def check(self, ctx: Context, inputs: CopyPointsIn, recorded: PointsCopied | None) -> PointsCopied | None:
        return recorded

    def run(self, ctx: Context, inputs: CopyPointsIn, live: Empty) -> PointsCopied:
        copying = _copying(ctx, inputs)
        for place in (copying.source, copying.to):
            img.QEMU_IMG.require(ctx, place.host)
        turns = ctx.turns
        turn = nullcontext() if turns is None else turns.briefly(ctx, _item(inputs.vm), (inputs.repository,))
        with turn:
            points = copying.run()
        return PointsCopied(vm=inputs.vm.vm, to=inputs.to, points=tuple(points))

    def leftover(self, ctx: Context, inputs: CopyPointsIn) -> PointsCopied | None:
        copying = _copying(ctx, inputs)
        there = copying.to.host.exists(copying.directory)
        return PointsCopied(vm=inputs.vm.vm, to=inputs.to, points=()) if there else None

    def undo(self, ctx: Context, inputs: CopyPointsIn, out: PointsCopied) -> None:
        """What was copied is good, and stays."""
        _copying(ctx, inputs).discard()

    def preflight(
        self, ctx: Context | None, known: Known[CopyPointsIn, PointsCopied]
    ) -> Preflight[PointsCopied]:
        if ctx is None or not {"repository", "to"} <= known.told.keys():
            return Preflight()
        hosts = {
            host.name: host for host, _ in (locate(ctx, known.told[name]) for name in ("repository", "to"))
        }
        programs = (img.QEMU_IMG, nbd_server.QEMU_NBD)
        return Preflight(
            observations=tuple(program.observe(ctx, host) for host in hosts.values() for program in programs)
        )

    def report(self, out: PointsCopied) -> StepReport:
        copies = (f"Copy of {out.vm}/{point.point} in {out.to}." for point in out.points)
        written = sum(point.written for point in out.points) * MiB
        return StepReport(
            statements=tuple(Statement(about="made", text=text) for text in copies),
            result=Result(
                act="copy",
                subject=out.vm,
                noun="VM",
                parts=(
                    Amount(value=len(out.points), noun="point", label="copied"),
                    Amount(value=written, noun="bytes", label="written"),
                ),
                made=f"copies in {out.to}",
                bytes=written,
                lists={"copies": tuple(f"{out.vm}/{point.point}" for point in out.points)},
            ),
        )


def _copying(ctx: Context, inputs: CopyPointsIn) -> Copying:
    source, to = (Place(name, *locate(ctx, name)) for name in (inputs.repository, inputs.to))
    return Copying(ctx, source, to, inputs.vm, inputs)


def _item(vm: VmCopies) -> Item:
    """Its disks are copied one after the other."""
    return Item(
        id=layout.uuid_of_vm_directory(vm.name) or vm.name, name=f"the copy of {vm.vm}", path="", disks=1
    )
