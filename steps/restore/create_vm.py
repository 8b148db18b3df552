"""create-vm: the VM that a restore is to be, with empty disks, under a name that says it is not finished."""

from __future__ import annotations

from runner.base.errors import SendenseError
from runner.base.model import JobModel
from runner.base.units import counted, human_bytes
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.new_vm import unfinished, unrecorded
from steps.repository import layout
from steps.values.created_vm import CreatedVm, foreseen
from steps.values.planned_vm import PlannedVm
from steps.vsphere import creation, marks, specs
from steps.vsphere.client import vcenter


class CreateVmIn(JobModel):
    plan: PlannedVm
    """What it is to be"""


class CreateVm(Step[CreateVmIn, Empty, CreatedVm]):
    """Makes the VM in vCenter with all its disks, which are empty. It carries the run's mark from its first
    moment, and the run's id in its name until all of it was read back and compared: by these two it is found
    again after a crash, and removed when the run is discarded. No other VM is ever removed."""

    name = "create-vm"
    lifetime = Lifetime.KEEP
    In = CreateVmIn
    Out = CreatedVm
    example = 'uses: create-vm, with: {plan: "${{ plan }}"}'
    errors = (
        "vCenter refuses the VM (its reason is shown), and makes nothing then",
        "a datastore has no room for it",
        "several VMs carry this run's mark, since somebody copied the unfinished one",
    )

    def check(self, ctx: Context, inputs: CreateVmIn, recorded: CreatedVm | None) -> CreatedVm | None:
        client = vcenter(ctx, inputs.plan.vcenter)
        if recorded is not None:
            return recorded if unfinished.still_there(client, recorded) else None
        found = unfinished.own(client, ctx.run.id)
        return None if found is None else unfinished.describe(client, found, inputs.plan)

    def run(self, ctx: Context, inputs: CreateVmIn, live: Empty) -> CreatedVm:
        plan, client = inputs.plan, vcenter(ctx, inputs.plan.vcenter)
        creation.settle(client, plan.machine.folder)
        if unfinished.own(client, ctx.run.id) is None:
            name = unfinished.interim_name(plan.machine.name, ctx.run.id)
            mark = marks.stamp(ctx, plan.source)
            spec = specs.config_spec(plan.machine, name, {marks.RESTORE: mark}, unrecorded.read(ctx, plan))
            creation.create(client, plan.machine, spec, f"making the VM {name}")
        found = unfinished.own(client, ctx.run.id)
        if found is None:
            raise SendenseError(
                f"the VM for {plan.machine.name} was made and is gone, or lost its mark: look at the tasks "
                f"of {client.server}, then run again"
            )
        for disk in plan.disks:
            ctx.log(layout.ledger(disk.key)).remove()  # it tells of another disk
        return unfinished.describe(client, found, plan)

    def preflight(self, ctx: Context | None, known: Known[CreateVmIn, CreatedVm]) -> Preflight[CreatedVm]:
        if ctx is None or known.inputs is None or known.out is not None:
            return Preflight()
        plan = known.inputs.plan
        name = unfinished.interim_name(plan.machine.name, ctx.run.id)
        size = sum(disk.new.capacity for disk in plan.disks)
        disks = counted(len(plan.disks), "disk")
        return Preflight(
            notes=(f"{name} in vCenter {plan.vcenter}: {disks} of {human_bytes(size)}, still empty",),
            prospect=foreseen(plan, name),
        )

    def undo(self, ctx: Context, inputs: CreateVmIn, out: CreatedVm) -> None:
        unfinished.remove(vcenter(ctx, inputs.plan.vcenter), out, ctx.run.id)

    def leftover(self, ctx: Context, inputs: CreateVmIn) -> CreatedVm | None:
        client = vcenter(ctx, inputs.plan.vcenter)
        creation.settle(client, inputs.plan.machine.folder)
        return unfinished.leftover(client, ctx.run.id, inputs.plan)

    def retained(self, ctx: Context, inputs: CreateVmIn, out: CreatedVm) -> Retained:
        return unfinished.retained(out)

    def report(self, out: CreatedVm) -> StepReport:
        text = f"The VM was made as {out.moref} in vCenter {out.vcenter}, in {out.vmx_file}."
        return StepReport(statements=(Statement(about="how", text=text),))
