"""snapshot: one moment of the VM, from which all its disks are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.model import HOW, Duration, JobModel, Percent
from runner.base.units import HOUR, human_seconds
from runner.events.check_results import observe
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context, Run
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.values.snapshot import SnapshotTaken
from steps.vm import tracking_reset
from steps.vsphere import datastores, machine, privileges, snapshots, tracking
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone, QuiesceFailed, TrackingOff
from steps.vsphere.inventory import VM, FrozenDisk
from steps.vsphere.owner import PREFIX, describe, read_owner
from steps.vsphere.snapshots import Snapshot as Found
from steps.vsphere.tracking import CbtSetting

CLOCK_STEP = 60.0
"""Seconds by which a clock that is kept by NTP may have gone back between two looks: more is a clock that was
set."""

NOT_QUIESCED = "vSphere took it without quiescing, as it does when VMware Tools do not run in the guest"


class SnapshotIn(JobModel):
    vm: VM
    """Of which VM."""
    quiesce: Literal["require", "try", "off"] = "try"
    """Bring the guest's file systems and applications to rest first; with `try`, a failure is written down
    instead."""
    hold: Annotated[Duration, HOW] = 12 * HOUR
    """How long the snapshot of a failed run is kept for a resume; 0 releases it at once."""
    min_free: Annotated[Percent, HOW] = 10.0
    """Percent free below which a datastore of the VM is in danger, and the snapshot of a failed run goes."""
    stop_below: Annotated[Percent, HOW] = 3.0
    """Percent free below which a datastore of the VM is about to fill: the run ends though it works, and
    releases the snapshot, which grows with every write of the guest."""
    cbt: Annotated[CbtSetting, HOW] = "off"
    """Changed block tracking of the VM, which incrementals need: `enable` switches it on where it is off,
    which takes effect when the VM is stunned, as this snapshot does; `reset` does that too, and where it is
    on and a disk is not tracked all the same, it switches it off and on again, once; `require` fails where it
    is off; `off` leaves it as it is."""


class Snapshot(Step[SnapshotIn, Empty, SnapshotTaken]):
    """Takes one snapshot of the VM, from which all its disks are read.

    It is without memory; its own configuration says which files are frozen. It is named after the run, so
    that a crash leaves nothing unknown. It is retained after a failure, for a resume that reads the same
    moment, until `hold` is over or a datastore runs full, and removed by exact reference when the work is
    done: the undo ends only when the disks are merged."""

    name = "snapshot"
    lifetime = Lifetime.JOB
    In = SnapshotIn
    Out = SnapshotTaken
    example = 'uses: snapshot, with: {vm: "${{ discover.vm }}", quiesce: try, hold: 12h}, needs: [reserve]'
    errors = (
        "the guest could not be quiesced (with quiesce: require)",
        "another run's snapshot is on the VM (exit code 3)",
        "the VM needs consolidation, has too many snapshots, or its datastore is full",
        "changed block tracking is off (with cbt: require)",
        "the account lacks a privilege (it and the object are shown)",
        "the disks could not be merged after the removal (their files are shown)",
    )

    def check(self, ctx: Context, inputs: SnapshotIn, recorded: SnapshotTaken | None) -> SnapshotTaken | None:
        client = vcenter(ctx, inputs.vm.vcenter)
        try:
            if recorded is not None:
                there = any(_is_it(found, recorded) for found in snapshots.listed(client, recorded.vm))
                return recorded if there else None
            found = snapshots.find(client, inputs.vm.moref, name_of(ctx.run))
            word = None if found is None else _unrecorded(client, inputs, found)
            return None if found is None or word is None else _taken(client, inputs.vm, found, word)
        except Gone:
            return None

    def run(self, ctx: Context, inputs: SnapshotIn, live: Empty) -> SnapshotTaken:
        client, vm, name = vcenter(ctx, inputs.vm.vcenter), inputs.vm, name_of(ctx.run)
        snapshots.settle(client, vm.moref)
        found = snapshots.find(client, vm.moref, name)
        word = None if found is None else _unrecorded(client, inputs, found)
        reset = tracking_reset.LATER if inputs.cbt == "reset" else tracking_reset.NOT_WISHED
        if found is None:
            tracking_reset.remove_leftover(client, vm, name)
            machine.refuse_unless_ready(client, vm.moref)
            _refuse_foreign(client, vm, ctx.run)
            seen = tracking.ensure_cbt(ctx, client, inputs.vm, inputs.cbt)
            reset = tracking_reset.Outcome(False, seen.remedy)
            found, word = _create(ctx, client, inputs, name)
            # What has just been switched on is judged by the next run.
            if inputs.cbt == "reset" and not seen.begins and not seen.remedy:
                reset = tracking_reset.reset(ctx, client, vm, found.moref, name)
                found, word = _create(ctx, client, inputs, name) if reset.done else (found, word)
        if word is None:
            snapshots.remove(client, vm.moref, found.moref)
            snapshots.consolidate_if_needed(client, vm.moref)
            raise QuiesceFailed(
                f"quiesce: require, but {NOT_QUIESCED}: start VMware Tools in {vm.name}, or write quiesce: "
                "try",
                NOT_QUIESCED,
            )
        taken = _taken(client, vm, found, word)
        if reset.done:
            tracking_reset.tell(ctx, vm, taken.disks)
        return taken.model_copy(update={"untracked_remedy": reset.remedy})

    def preflight(
        self, ctx: Context | None, known: Known[SnapshotIn, SnapshotTaken]
    ) -> Preflight[SnapshotTaken]:
        settings, inputs = _settings(known), known.inputs
        if ctx is None or inputs is None:
            return Preflight(settings=settings)
        client, vm = vcenter(ctx, inputs.vm.vcenter), inputs.vm
        wanted = privileges.on_vm(vm.moref, vm.name)
        observations = (
            observe(f"VM {vm.name}", "privileges on it", lambda: privileges.require(client, wanted)),
            tracking.examine(client, vm, inputs.cbt),
        )
        if known.out is not None:
            return Preflight(settings=settings, observations=observations)
        notes, problems = _foretold(ctx, client, inputs)
        locked, prospect = None, None
        try:
            prospect = _foreseen(ctx, client, inputs)
        except LockedError as error:
            locked = error
        return Preflight(
            settings=settings,
            observations=observations,
            notes=notes,
            problems=problems,
            locked=locked,
            prospect=prospect,
        )

    def undo(self, ctx: Context, inputs: SnapshotIn, out: SnapshotTaken) -> None:
        """By exact reference, or by the name that only this run gives; absent is fine, unmerged disks are
        not."""
        client = vcenter(ctx, out.vcenter)
        try:
            for found in snapshots.listed(client, out.vm):
                if _is_it(found, out) or found.name in (out.name, f"{out.name}{tracking_reset.SUFFIX}"):
                    snapshots.remove(client, out.vm, found.moref)
            snapshots.consolidate_if_needed(client, out.vm)
        except Gone:
            return  # the VM no longer exists, and its snapshots with it

    def leftover(self, ctx: Context, inputs: SnapshotIn) -> SnapshotTaken | None:
        """Whatever came of the quiescing. A creation that is still in progress after the run's end is waited
        for, as `run` does; a plan does not wait."""
        client, vm = vcenter(ctx, inputs.vm.vcenter), inputs.vm
        try:
            snapshots.settle(client, vm.moref)
            named = (snapshots.find(client, vm.moref, name) for name in own_names(ctx.run))
            found = next((one for one in named if one is not None), None)
            return None if found is None else _taken(client, vm, found, "no")
        except Gone:
            return None

    def retained(self, ctx: Context, inputs: SnapshotIn, out: SnapshotTaken) -> Retained:
        created, until = _time(out.created), _time(out.created + timedelta(seconds=inputs.hold))
        return Retained(
            f"snapshot {out.name} of VM {inputs.vm.name} (created {created}, retained until {until})",
            lambda: _why_due(ctx, inputs, out),
        )

    def endangered(self, ctx: Context, inputs: SnapshotIn, out: SnapshotTaken) -> SendenseError | None:
        client, stores = vcenter(ctx, out.vcenter), {disk.datastore for disk in out.disks}
        return datastores.filling(client, out.vm, inputs.vm.name, stores, inputs.stop_below)

    def report(self, out: SnapshotTaken) -> StepReport:
        text = f"The VM was read as it was at {_time(out.created)}; quiesced: {out.quiesced}."
        return StepReport(statements=(Statement(about="noted", text=text),))


def _settings(known: Known[SnapshotIn, SnapshotTaken]) -> tuple[Setting, ...]:
    found = known.settings(quiesce="quiesce", cbt="cbt")
    if "hold" not in known.told:
        return found
    hold = known.told["hold"]
    kept = (
        f"the snapshot, {human_seconds(hold)} after a failure"
        if hold
        else "none: released at once after a failure"
    )
    return (*found, Setting(name="hold", text=kept))


def _foretold(ctx: Context, client: Client, inputs: SnapshotIn) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Notes and problems."""
    problems = []
    try:
        machine.refuse_unless_ready(client, inputs.vm.moref)
        _refuse_foreign(client, inputs.vm, ctx.run)
    except Interrupted:
        raise
    except SendenseError as error:
        problems.append(error.message)
    short, unknown = _short_datastores(client, inputs, snapshots.foreseen(client, inputs.vm.moref))
    notes = [f"after a failure the snapshot would be released at once: {', '.join(short)}"] if short else []
    if unknown:
        notes.append(
            f"free space of datastore {', '.join(unknown)} cannot be read: min-free is not enforced there"
        )
    try:
        notes += tracking.foresee(client, inputs.vm, inputs.cbt)
    except TrackingOff as error:
        problems.append(error.message)
    return tuple(notes), tuple(problems)


def _foreseen(ctx: Context, client: Client, inputs: SnapshotIn) -> SnapshotTaken:
    """Where this run's own snapshot is to be replaced, the next one freezes the same files, since its removal
    merges the deltas above them. Raises LockedError for another run's: what it says of the disks is no fault
    of theirs."""
    vm, names = inputs.vm, _own(ctx.run)
    _refuse_foreign(client, vm, ctx.run)
    own = next((found for found in snapshots.listed(client, vm.moref) if found.name in names), None)
    disks = (
        snapshots.foreseen(client, vm.moref)
        if own is None
        else snapshots.contents(client, vm.moref, own.moref).disks
    )
    return SnapshotTaken(
        vcenter=vm.vcenter,
        vm=vm.moref,
        moref="",
        name=name_of(ctx.run),
        created=datetime.now(UTC),
        quiesced="no",
        datacenter=vm.datacenter,
        disks=disks,
        untracked_remedy=tracking.look_ahead(client, vm, inputs.cbt).remedy,
        nvram=None,
    )


def _why_due(ctx: Context, inputs: SnapshotIn, out: SnapshotTaken) -> str | None:
    client = vcenter(ctx, out.vcenter)
    age = (client.now() - out.created).total_seconds()
    if age >= inputs.hold:
        return f"its hold of {human_seconds(inputs.hold)} has expired"
    if age < -CLOCK_STEP:
        back = human_seconds(-age)
        return f"the vCenter's clock was set back by {back} or more, so its age is unknown"
    try:
        short, _ = _short_datastores(client, inputs, out.disks)
    except Gone:
        return "the VM no longer exists"
    return f"{', '.join(short)}, min-free is {inputs.min_free:g} %" if short else None


def name_of(run: Run) -> str:
    return f"{PREFIX}{run.id}"


def own_names(run: Run) -> tuple[str, str]:
    """Of the one that is read, and of one that only stunned the VM."""
    return name_of(run), f"{name_of(run)}{tracking_reset.SUFFIX}"


def _is_it(found: Found, taken: SnapshotTaken) -> bool:
    """By its time too: a vCenter that was restored from its own backup gives numbers again, to other people's
    snapshots."""
    return (found.moref, found.created) == (taken.moref, taken.created)


def _create(ctx: Context, client: Client, inputs: SnapshotIn, name: str) -> tuple[Found, str | None]:
    vm = inputs.vm.moref
    failed = ""
    try:
        snapshots.create(
            client, vm, name, describe(ctx, inputs.vm.instance_uuid), quiesce=inputs.quiesce != "off"
        )
    except QuiesceFailed as error:
        if inputs.quiesce == "require":
            raise
        failed = f"failed: {error.reason}"
        ctx.warn(f"{inputs.vm.name} could not be quiesced, so the backup is crash-consistent: {error.reason}")
        snapshots.create(client, vm, name, describe(ctx, inputs.vm.instance_uuid), quiesce=False)
    found = snapshots.find(client, vm, name)
    if found is None:
        raise Gone(
            f"snapshot {name} of {inputs.vm.name} vanished after it was taken: somebody removed it in vSphere"
        )
    word = failed or _quiesced(client, inputs, found)
    if word and word.startswith("failed") and not failed:
        ctx.warn(f"{inputs.vm.name} was not quiesced, so the backup is crash-consistent: {NOT_QUIESCED}")
    return found, word


def _quiesced(client: Client, inputs: SnapshotIn, found: Found) -> str | None:
    """What came of it; None if it was required and did not happen."""
    if inputs.quiesce == "off":
        return "no"
    if found.quiesced:
        return "yes"
    if not machine.powered_on(client, inputs.vm.moref):
        return "no"  # a VM that is off is at rest
    return None if inputs.quiesce == "require" else f"failed: {NOT_QUIESCED}"


def _unrecorded(client: Client, inputs: SnapshotIn, found: Found) -> str | None:
    """As `_quiesced`, for a snapshot whose making was not recorded: the reason of a failure is lost then."""
    word = _quiesced(client, inputs, found)
    return "failed: the run ended before it could record why" if word and word.startswith("failed") else word


def _own(run: Run) -> frozenset[str]:
    """Names of snapshots that are this run's to remove."""
    names = (name_of(run), *(f"{PREFIX}{discarded}" for discarded in run.discarded))
    return frozenset((*names, *(f"{name}{tracking_reset.SUFFIX}" for name in names)))


def _refuse_foreign(client: Client, vm: VM, run: Run) -> None:
    """Raises LockedError (exit code 3) if another run's snapshot is on the VM: its disks would not be flat,
    and its end would merge under our reads."""
    own = _own(run)
    for found in snapshots.listed(client, vm.moref):
        if found.name.startswith(PREFIX) and found.name not in own:
            owner = read_owner(found.description)
            whose = found.name if owner is None else f"run {owner.run} of {owner.job} on {owner.holder}"
            holder = (
                f"{whose}, whose snapshot of {_time(found.created)} is on it; wait for that run or resume "
                "it, or discard it with `sendense sweep JOB --abandon RUN`; if it is over, or its records "
                "are lost, use `sendense sweep JOB --orphans`"
            )
            raise LockedError(f"VM {vm.name}", holder)


def _short_datastores(
    client: Client, inputs: SnapshotIn, disks: Iterable[FrozenDisk]
) -> tuple[list[str], tuple[str, ...]]:
    """What is to be said of those below `min-free`, and the names of those of which nobody says how full they
    are."""
    free = datastores.free_space(client, inputs.vm.moref, {disk.datastore for disk in disks})
    known = {name: part for name, part in free.items() if part is not None}
    short = [
        f"datastore {name} has {part:.1f} % free" for name, part in known.items() if part < inputs.min_free
    ]
    return short, tuple(name for name in free if name not in known)


def _taken(client: Client, vm: VM, found: Found, quiesced: str) -> SnapshotTaken:
    contents = snapshots.contents(client, vm.moref, found.moref)
    return SnapshotTaken(
        vcenter=vm.vcenter,
        vm=vm.moref,
        moref=found.moref,
        name=found.name,
        created=found.created,
        quiesced=quiesced,
        datacenter=vm.datacenter,
        disks=contents.disks,
        nvram=contents.nvram,
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
