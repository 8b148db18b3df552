"""discover: what the VM is and which disks it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from runner.base.model import HOW, JobModel, SectionName
from runner.base.units import human_bytes
from runner.events.check_results import Observation, good, noted, observe
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.step.context import Context
from runner.step.decision import Decision
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.values.discovered import Discovered
from steps.vm import which_vm
from steps.vsphere import machine
from steps.vsphere.checks import RENEW, answers, expiry
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import VSphereError
from steps.vsphere.inventory import Uncovered


class DiscoverIn(JobModel):
    vcenter: Annotated[str, SectionName("vcenters")]
    """Which vCenter has the VM."""
    vm: str
    """A name, an inventory path (`DC1/vm/prod/pgtest1`), a moref (`vm-16`), or an instance or BIOS uuid."""
    repository: Annotated[str, SectionName("repositories"), HOW] | None = None
    """Where its restore points are: a name that another VM has now is then told, and the VM that was backed
    up before is meant."""
    skip_uncovered: bool | tuple[int, ...] = False
    """Disks that a snapshot does not cover may stay out of the backup: all of them, or those with these
    keys."""


_PLAIN = "its copies in the repository are plain text, and its virtual TPM, if it has one, is not saved"

_ENCRYPTED = f"the VM is encrypted in vSphere; {_PLAIN}"


class DisksNotCovered(VSphereError):
    pass


class Discover(Step[DiscoverIn, Empty, Discovered]):
    """Finds the VM and lists its disks.

    By the keys vSphere gave them, with controller, unit, capacity and backing. With `repository` it continues
    with the VM that the job backed up before, whatever that is called now, and says where the name is another
    VM's. Without, or where none was backed up yet, a name that two VMs have is an error that lists them.
    Disks that no snapshot covers (independent, physical RDM, shared) are an error too, unless the job says
    `skip-uncovered`."""

    name = "discover"
    lifetime = Lifetime.KEEP
    In = DiscoverIn
    Out = Discovered
    read_only = True
    example = 'uses: discover, with: {vcenter: prod, vm: "${{ vars.vm }}", repository: main}'
    errors = (
        "no VM matches (close names are shown), or several do (their paths, morefs and instance uuids are "
        "shown)",
        "the VM that was backed up before has another instance uuid now (`sendense adopt JOB` shows both)",
        "a disk is not covered by a snapshot, and the job does not say skip-uncovered",
        "the VM is a template, out of reach, or in another state that excludes snapshots",
        "the vCenter refuses the login, or its certificate is not the one the job trusts",
    )

    def check(self, ctx: Context, inputs: DiscoverIn, recorded: Discovered | None) -> Discovered | None:
        """A run's record stands while it is the same VM: names of its files change with each snapshot."""
        if recorded is None:
            return None
        known = machine.Identity(recorded.vm.vcenter_uuid, recorded.vm.instance_uuid)
        return (
            recorded if machine.identity(vcenter(ctx, inputs.vcenter), recorded.vm.moref) == known else None
        )

    def run(self, ctx: Context, inputs: DiscoverIn, live: Empty) -> Discovered:
        # A look at one moment, also where it is no look ahead.
        client = vcenter(ctx, inputs.vcenter).remembering({} if ctx.answers is None else ctx.answers)
        ctx.uses("vCenter", client.version)
        if client.certificate_ends and (warning := expiry(client.certificate_ends)):
            ctx.warn(f"the certificate of vCenter {inputs.vcenter}: {warning}: {RENEW}")
        chosen = which_vm.choose(ctx, client, inputs.vm, inputs.repository)
        for warning in chosen.warnings:
            ctx.warn(warning)
        machine.refuse_unless_ready(client, chosen.moref)
        found = machine.describe(client, chosen.moref)
        for warning in chosen.changes(which_vm.identity_of(found)):
            ctx.warn(warning)
        _settle_uncovered(ctx, inputs, found)
        if not found.disks:
            raise DisksNotCovered(
                f"{found.vm.name} has no disk that a snapshot covers: there is nothing to back up"
            )
        return Discovered(
            vm=found.vm.model_copy(update={"asked": inputs.vm}),
            disks=found.disks,
            uncovered=found.uncovered,
            change_tracking=found.change_tracking,
            encrypted=found.encrypted,
            kept=chosen.notes,
        )

    def preflight(self, ctx: Context | None, known: Known[DiscoverIn, Discovered]) -> Preflight[Discovered]:
        settings, decisions = _settings(known), () if known.out is None else _decisions(known.out)
        if ctx is None or known.inputs is None:
            return Preflight(settings=settings, decisions=decisions)
        return Preflight(settings=settings, decisions=decisions, observations=_observed(ctx, known.inputs))

    def report(self, out: Discovered) -> StepReport:
        vm = out.vm
        cells = {
            "Inventory path": Cell(value=vm.inventory_path, detail=True),
            "Instance UUID": Cell(value=vm.instance_uuid, detail=True),
            "vCenter": Cell(value=vm.vcenter, detail=True),
            "The vCenter's UUID": Cell(value=vm.vcenter_uuid, detail=True),
        }
        told = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in out.kept]
        if out.encrypted:
            told.append(f"VM {vm.name} is encrypted in vSphere; {_PLAIN}.")
        if out.uncovered:
            told.append(
                f"Not backed up, since a snapshot does not cover them: disks {_named(out.uncovered)}."
            )
        return StepReport(
            rows=(Row(table="VM", key=vm.name, cells=cells),),
            statements=tuple(Statement(about="noted", text=text) for text in told),
        )


def _decisions(out: Discovered) -> tuple[Decision, ...]:
    """Which VM it is, and its disks: a key is a slot, in which another disk may be by the time of the run."""
    vm = {"instance uuid": out.vm.instance_uuid, "vCenter": out.vm.vcenter_uuid}
    return (
        Decision(subject="VM", facts=vm),
        *(
            Decision(
                subject=f"disk {disk.key}",
                facts={
                    "capacity": f"{human_bytes(disk.capacity)} ({disk.capacity} bytes)",
                    "backing uuid": disk.backing_uuid,
                },
            )
            for disk in out.disks
        ),
    )


def _settings(known: Known[DiscoverIn, Discovered]) -> tuple[Setting, ...]:
    told, out = known.told, known.out
    where = f" in vCenter {told['vcenter']}" if "vcenter" in told else ""
    found = "" if out is None else f": {out.vm.inventory_path}, instance uuid {out.vm.instance_uuid}"
    vm = Setting(name="VM", text=f"{told.get('vm', 'known when it runs')}{where}{found}")
    found_so = () if out is None or not out.encrypted else (Setting(name="encryption", text=_ENCRYPTED),)
    left_out = told.get("skip_uncovered", False)
    if left_out is False:
        return (vm, *found_so)
    which = (
        "those that no snapshot covers"
        if left_out is True
        else f"{', '.join(map(str, left_out))}, if no snapshot covers them"
    )
    return (vm, *found_so, Setting(name="disks left out", text=which))


def _observed(ctx: Context, inputs: DiscoverIn) -> tuple[Observation, ...]:
    vcenter_answers = answers(ctx, inputs.vcenter)
    if vcenter_answers.state == "wrong":
        return (vcenter_answers,)
    client = vcenter(ctx, inputs.vcenter)
    chosen = which_vm.choose(ctx, client, inputs.vm, inputs.repository)
    found = machine.describe(client, chosen.moref)
    subject = f"VM {found.vm.name}"
    return (
        vcenter_answers,
        good(subject, "that it is there", f"{found.vm.inventory_path} ({found.vm.moref})"),
        *(
            noted(subject, "that it is the one that was backed up before", warning)
            for warning in chosen.warnings
        ),
        observe(subject, "that it can be snapshotted", lambda: _ready(client, found.vm.moref)),
        observe(subject, "that a snapshot covers its disks", lambda: _covered(inputs, found)),
    )


def _ready(client: Client, moref: str) -> str:
    machine.refuse_unless_ready(client, moref)
    return "it is no template, has no question open and needs no consolidation"


def _covered(inputs: DiscoverIn, found: machine.Machine) -> str:
    left_out = _left_out(inputs, found)
    covered = f"disks {', '.join(str(disk.key) for disk in found.disks)} are covered"
    return f"{covered}; left out: {_named(left_out)}" if left_out else covered


def _settle_uncovered(ctx: Context, inputs: DiscoverIn, found: machine.Machine) -> None:
    """Raises DisksNotCovered for those the job does not leave out; names those it does."""
    left_out = _left_out(inputs, found)
    if left_out:
        ctx.warn(
            f"disks of {found.vm.name} are not backed up, since a snapshot does not cover them: "
            f"{_named(left_out)}"
        )


def _left_out(inputs: DiscoverIn, found: machine.Machine) -> list[Uncovered]:
    """Raises DisksNotCovered for those the job does not leave out."""
    skip = inputs.skip_uncovered
    left_out = [disk for disk in found.uncovered if skip is True or (skip is not False and disk.key in skip)]
    refused = [disk for disk in found.uncovered if disk not in left_out]
    if refused:
        keys = ", ".join(str(disk.key) for disk in found.uncovered)
        raise DisksNotCovered(
            f"a snapshot does not cover these disks of {found.vm.name}: {_named(refused)}; leave them out "
            f"with `skip-uncovered: [{keys}]` on discover (in `template: backup` the variable "
            "`skip_uncovered`)"
        )
    return left_out


def _named(disks: Iterable[Uncovered]) -> str:
    return ", ".join(f"{disk.key} ({disk.label}: {disk.why})" for disk in disks)
