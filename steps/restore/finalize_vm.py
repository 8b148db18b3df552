"""finalize-vm: a VM whose disks were all compared gets what its firmware needs, and its name."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from runner.base.errors import Interrupted, SendenseError, StateError
from runner.base.model import JobModel
from runner.base.units import human_bytes
from runner.events.result import Result
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.new_vm import unfinished
from steps.source import compared_disk
from steps.trail import log
from steps.values.created_vm import CreatedVm
from steps.values.planned_vm import PlannedVm
from steps.values.restored_vm import RestoredVm
from steps.values.vm_disk import VmDiskChecked
from steps.vsphere import attributes, finishing, machine, marks, power, tags
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.machine import Identity


class FinalizeVmIn(JobModel):
    plan: PlannedVm
    """What the VM is to be"""
    vm: CreatedVm
    """The VM, as it was made"""
    disks: tuple[VmDiskChecked, ...]
    """Its disks, all of them read back from vSphere and compared"""
    power_on: bool = False
    """Whether it is powered on once it is finished"""


class NotAllComparedError(SendenseError):
    """A VM gets its name only when every block of every disk was compared."""

    def __init__(self, vm: str, labels: list[str]) -> None:
        super().__init__(
            f"{vm} does not get its name: {', '.join(labels)} was not read back and compared; give "
            "what `check-vm-disk` gives of every disk to finalize-vm"
        )


class WrittenSinceError(SendenseError):
    """A disk is not what was compared any more. The next attempt compares all of them again."""

    invalidates = ("disks",)

    def __init__(self, vm: str, labels: list[str]) -> None:
        super().__init__(
            f"{vm} does not get its name: something was written to {', '.join(labels)} after it was "
            "compared, as when somebody powers the VM on; run the same command again, which compares its "
            "disks again"
        )


class FinalizeVm(Step[FinalizeVmIn, Empty, RestoredVm]):
    """Finishes a VM that was restored, once all its disks were read back and compared: NVRAM and boot order,
    changed block tracking as it was, custom attributes, tags. Then, in one change, it gets its name and loses
    the run's mark: from there on it is an ordinary VM that nothing of this program removes. It is powered on
    if the job says so."""

    name = "finalize-vm"
    lifetime = Lifetime.KEEP
    commits = True
    In = FinalizeVmIn
    Out = RestoredVm
    makes = ("vms",)
    example = 'uses: finalize-vm, with: {plan: "${{ plan }}", vm: "${{ vm }}", disks: "${{ check }}"}'
    errors = (
        "a disk of the VM was not compared, or was written to since",
        "something in the folder got the VM's name meanwhile",
        "the VM is on, or no longer the one that this run made",
        "vSphere asks a question before it powers the VM on, or DRS wants a person to choose the host",
    )

    def check(self, ctx: Context, inputs: FinalizeVmIn, recorded: RestoredVm | None) -> RestoredVm | None:
        client = vcenter(ctx, inputs.plan.vcenter)
        if not unfinished.is_released(client, inputs.vm):
            return None
        if recorded is not None:
            return recorded
        if inputs.power_on and not machine.powered_on(client, inputs.vm.moref):
            return None
        return _restored(inputs, powered_on=inputs.power_on, further=())

    def committed(self, ctx: Context, inputs: FinalizeVmIn) -> bool:
        return unfinished.is_released(vcenter(ctx, inputs.plan.vcenter), inputs.vm)

    def run(self, ctx: Context, inputs: FinalizeVmIn, live: Empty) -> RestoredVm:
        _refuse_uncompared(inputs)
        client = vcenter(ctx, inputs.plan.vcenter)
        further: tuple[str, ...] = ()
        if not unfinished.is_released(client, inputs.vm):
            _refuse_other(client, inputs)
            _refuse_written(client, inputs)
            further = _finish(ctx, client, inputs)
            for text in further:
                ctx.warn(text)
            plan = inputs.plan
            point = posixpath.dirname(posixpath.dirname(plan.config))
            text = f"as VM {plan.machine.name} in vCenter {plan.vcenter}"
            log.note_of(ctx, ctx.host(plan.repository_host), point, "restore", text)
        if inputs.power_on:
            power.switch_on(client, inputs.vm.moref, inputs.plan.machine.name, inputs.vm.datacenter)
        return _restored(inputs, powered_on=inputs.power_on, further=further)

    def preflight(self, ctx: Context | None, known: Known[FinalizeVmIn, RestoredVm]) -> Preflight[RestoredVm]:
        if "power_on" not in known.told:
            return Preflight()
        text = "powered on" if known.told["power_on"] else "stays off"
        return Preflight(settings=(Setting(name="restored VM", text=text),))

    def retained(self, ctx: Context, inputs: FinalizeVmIn, out: RestoredVm) -> Retained | None:
        return Retained(f"the restored VM {out.name} ({out.moref}) in vCenter {out.vcenter}")

    def report(self, out: RestoredVm) -> StepReport:
        state = "It is on." if out.powered_on else "It is off."
        made = f"VM {out.name} in vCenter {out.vcenter} ({out.moref}) is restored from {out.source}. {state}"
        notes = (f"{text[:1].upper()}{text[1:]}." for text in out.warnings)
        result = Result(
            act="restore",
            subject=out.source,
            noun="point",
            parts=(f"VM of {human_bytes(out.size)} restored", "every block verified"),
            made=f"VM {out.name} in vCenter {out.vcenter}",
            bytes=out.size,
            lists={"vms": (out.name,)},
        )
        return StepReport(
            statements=(
                Statement(about="made", text=made),
                *(Statement(about="noted", text=text) for text in notes),
            ),
            result=result,
        )


def _refuse_uncompared(inputs: FinalizeVmIn) -> None:
    """What was compared must be the files that the VM has."""
    compared = {(disk.disk_key, disk.file) for disk in inputs.disks}
    missing = [
        disk.stored.label
        for disk in inputs.plan.disks
        if (disk.key, inputs.vm.disk(disk.key).file) not in compared
    ]
    if missing or not inputs.disks:
        raise NotAllComparedError(inputs.vm.name, missing or ["no disk"])


def _refuse_other(client: Client, inputs: FinalizeVmIn) -> None:
    """Raises Gone, VSphereError for a VM that is no longer as this run made it."""
    vm = inputs.vm
    if machine.identity(client, vm.moref) != Identity(client.uuid, vm.instance_uuid):
        raise Gone(f"{vm.name} ({vm.moref}) no longer exists in vCenter {client.name}: run with --fresh")
    mark = marks.of(client, vm.moref, marks.RESTORE)
    if mark != vm.mark:
        now = "carries another mark now" if mark else "has lost its mark"
        raise VSphereError(
            f"{vm.name} ({vm.moref}) {now}: somebody changed it in vSphere, so it is left alone; run with "
            "--fresh, which makes another one"
        )
    if machine.powered_on(client, vm.moref):
        raise VSphereError(
            f"{vm.name} ({vm.moref}) is powered on, before it was finished: power it off in vSphere and run "
            "again with --fresh, since its disks may have changed"
        )


def _refuse_written(client: Client, inputs: FinalizeVmIn) -> None:
    """Raises WrittenSinceError; NotReady for a disk that was moved, replaced or got a snapshot."""
    written = compared_disk.written_since(client, inputs.vm, inputs.disks)
    if labels := [disk.stored.label for disk in inputs.plan.disks if disk.key in written]:
        raise WrittenSinceError(inputs.vm.name, labels)


def _finish(ctx: Context, client: Client, inputs: FinalizeVmIn) -> tuple[str, ...]:
    """What could not be done and keeps the VM from nothing, in sentences."""
    plan, vm = inputs.plan, inputs.vm
    if plan.nvram is not None:
        finishing.put_nvram(client, vm.moref, vm.datacenter, _nvram(ctx, plan))
    further = finishing.set_up(client, vm.moref, plan.machine)
    further += _tried(lambda: _set_attributes(client, inputs), "custom attributes were not set")
    further += _tried(lambda: _attach(client, inputs), "tags were not attached")
    finishing.release(client, vm.moref, plan.machine.name, marks.RESTORE)
    return further


def _nvram(ctx: Context, plan: PlannedVm) -> bytes:
    host = ctx.host(plan.repository_host)
    assert plan.nvram is not None
    try:
        return host.read(plan.nvram)
    except FileNotFoundError:
        raise StateError(
            f"the saved NVRAM file {plan.nvram} on {host.name} is gone: the guest may not boot without it"
        ) from None


def _set_attributes(client: Client, inputs: FinalizeVmIn) -> tuple[str, ...]:
    unknown = attributes.set_on(client, inputs.vm.moref, inputs.plan.machine.attributes)
    return tuple(f"the vCenter has no custom attribute {name} any longer" for name in unknown)


def _attach(client: Client, inputs: FinalizeVmIn) -> tuple[str, ...]:
    tags.attach(client, inputs.vm.moref, inputs.plan.machine.tags)
    return ()


def _tried(work: Callable[[], tuple[str, ...]], what: str) -> tuple[str, ...]:
    """A VM without a tag is restored all the same."""
    try:
        return work()
    except Interrupted:
        raise
    except SendenseError as error:
        return (f"{what}: {error.message}",)


def _restored(inputs: FinalizeVmIn, *, powered_on: bool, further: tuple[str, ...]) -> RestoredVm:
    plan = inputs.plan
    return RestoredVm(
        vcenter=plan.vcenter,
        moref=inputs.vm.moref,
        instance_uuid=inputs.vm.instance_uuid,
        name=plan.machine.name,
        point=plan.point,
        source=plan.source,
        size=sum(disk.new.capacity for disk in plan.disks),
        powered_on=powered_on,
        warnings=(*(change.sentence for change in plan.changes if change.warn), *further),
    )
