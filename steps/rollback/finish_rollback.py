"""finish-rollback: all disks were compared, and the VM is whole again."""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.base.model import JobModel
from runner.base.units import counted, human_bytes
from runner.events.result import Amount, Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step
from steps.rollback import at_rest
from steps.rollback.logs import DiskLogs
from steps.source import compared_disk
from steps.trail import log
from steps.values.created_vm import MarkedVm
from steps.values.rollback import RollbackDisk, RolledBack
from steps.values.vm_disk import VmDiskChecked, VmDiskWritten
from steps.vsphere import marks
from steps.vsphere.client import vcenter


class FinishRollbackIn(JobModel):
    vm: MarkedVm
    """The VM, with the run's mark"""
    point: str
    """Name of the restore point"""
    source: str
    """The point: VM/POINT"""
    disks: tuple[RollbackDisk, ...]
    """Its disks"""
    written: tuple[VmDiskWritten, ...]
    """What was written to them"""
    checked: tuple[VmDiskChecked, ...]
    """What was compared after that"""


class WrittenSinceError(SendenseError):
    """A disk is not what was compared any more. The next attempt compares all of them again."""

    invalidates = ("checked",)

    def __init__(self, vm: str, source: str, keys: tuple[int, ...]) -> None:
        super().__init__(
            f"{vm} keeps its mark: something was written to disk {', '.join(map(str, keys))} after it was "
            f"compared with {source}, as when somebody powers the VM on; run the same command again, which "
            "compares its disks again"
        )


class FinishRollback(Step[FinishRollbackIn, Empty, RolledBack]):
    """Removes the mark of the VM whose disks were put back, once each of them was read back from vSphere and
    compared, and unless one was written to since. The VM stays off."""

    name = "finish-rollback"
    commits = True
    lifetime = Lifetime.KEEP
    In = FinishRollbackIn
    Out = RolledBack
    makes = ("points",)
    example = (
        'uses: finish-rollback, with: {vm: "${{ begin.vm }}", point: "${{ plan.point }}", '
        'source: "${{ plan.source }}", disks: "${{ plan.disks }}", written: "${{ write }}", '
        'checked: "${{ check }}"}'
    )
    errors = (
        "a disk of the VM was written to since it was compared",
        "the VM is on, has snapshots, or has not the run's mark any more",
    )

    def check(self, ctx: Context, inputs: FinishRollbackIn, recorded: RolledBack | None) -> RolledBack | None:
        client = vcenter(ctx, inputs.vm.vcenter)
        if at_rest.own_mark(client, inputs.vm.moref, ctx.run.id) is not None:
            return None
        return recorded or _rolled_back(ctx, inputs)

    def run(self, ctx: Context, inputs: FinishRollbackIn, live: Empty) -> RolledBack:
        client, vm = vcenter(ctx, inputs.vm.vcenter), inputs.vm
        if at_rest.own_mark(client, vm.moref, ctx.run.id) is None:
            raise at_rest.MarkGoneError(vm.name)
        if written := compared_disk.written_since(client, vm, inputs.checked):
            raise WrittenSinceError(vm.name, inputs.source, written)
        marks.remove(client, vm.moref, marks.ROLLBACK)
        for stored in (disk.stored for disk in inputs.disks[:1]):
            text = f"into VM {vm.name}, which was rolled back"
            log.note_of(ctx, ctx.host(stored.image.host), posixpath.dirname(stored.digests), "restore", text)
        return _rolled_back(ctx, inputs)

    def report(self, out: RolledBack) -> StepReport:
        kept = f"is restore point {out.present}" if out.present else "was not kept"
        said = [
            Statement(about="made", text=f"{out.vm} is as it was at {out.source}, and off."),
            Statement(about="noted", text=f"The state of {out.vm} before it was rolled back {kept}."),
        ]
        if out.untracked:
            keys = ", ".join(map(str, out.untracked))
            text = (
                f"Changed block tracking from before says nothing of disk {keys} any more: the next backup "
                "reads all of it and writes what differs. The next backup by another product must be a full."
            )
            said.append(Statement(about="noted", text=text))
        result = Result(
            act="rollback",
            subject=out.vm,
            noun="VM",
            parts=(
                f"{counted(out.disks, 'disk')} of {human_bytes(out.size)} as at {out.point}",
                Amount(value=out.written, noun="bytes", label="written"),
                "every block verified" if out.whole else "changed blocks and a sample verified",
            ),
            bytes=out.written,
            lists={"points": (out.source,)},
        )
        return StepReport(statements=tuple(said), result=result)


def _rolled_back(ctx: Context, inputs: FinishRollbackIn) -> RolledBack:
    return RolledBack(
        vm=inputs.vm.name,
        moref=inputs.vm.moref,
        point=inputs.point,
        source=inputs.source,
        present=next((disk.present.point for disk in inputs.disks if disk.present is not None), ""),
        disks=len(inputs.checked),
        whole=all(disk.whole for disk in inputs.checked),
        size=sum(disk.stored.capacity for disk in inputs.disks),
        written=sum(disk.written for disk in inputs.written),
        untracked=tuple(disk.key for disk in inputs.disks if DiskLogs(ctx, inputs.vm, disk.stored).touched),
    )
