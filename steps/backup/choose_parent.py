"""choose-parent: the backing image of a disk's new image, and which areas of the disk it must take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from runner.base.errors import DifferenceError, SendenseError
from runner.base.model import JobModel, SectionName
from runner.base.units import human_bytes
from runner.events.check_results import noted, wrong
from runner.events.step_report import Alarm, Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.decision import Decision
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.backup import vm_directory
from steps.repository import parent, vm_place
from steps.repository.manifest import APART
from steps.repository.parent import NoParentError, Parent, Sought
from steps.repository.section import locate
from steps.values.base import Base
from steps.values.snapshot import SnapshotTaken, frozen_disk
from steps.vsphere import cbt, hardware, machine, tracking
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import TrackingError
from steps.vsphere.inventory import VM, Disk, Untracked

NEVER_TRACKED = "`incremental: digests` in vars reads all of it and writes what differs"


class FullEvery(JobModel):
    """When a full comes again, whichever comes first."""

    points: Annotated[int, Field(ge=1)] | None = None
    """After so many restore points, the full counted; those that were deleted since count too."""
    days: Annotated[float, Field(gt=0)] | None = None
    """Once the last full that was copied from the source is so many days old; what a prune made a full does
    not count."""


class ChooseParentIn(JobModel):
    vm: VM
    """Whose restore points are looked at."""
    disk: Disk
    """The disk that is decided for."""
    snapshot: SnapshotTaken
    """The moment up to which changes are asked for."""
    repository: Annotated[str, SectionName("repositories")]
    """Where the restore points are."""
    mode: Literal["auto", "full", "incremental"] = "auto"
    """`auto` makes an incremental where it can and a full where it must; `incremental` fails where it would
    have to be a full."""
    full_every: FullEvery = FullEvery()
    """With `auto`: when a full comes though an incremental could: `points`, `days`."""
    incremental: Literal["cbt", "digests"] = "cbt"
    """How an incremental knows what to write: `cbt` asks vSphere's changed block tracking, `digests` reads
    the whole disk and compares."""


class NoIncrementalError(SendenseError):
    def __init__(self, key: int, why: str) -> None:
        super().__init__(
            f"disk {key} cannot be backed up incrementally: {why}; `mode: auto` would make a full"
        )


class ChooseParent(Step[ChooseParentIn, Empty, Base]):
    """Decides for one disk whether its next image is a full or an incremental, backed by the newest restore
    point's.

    An incremental takes what was written since that point: its image, its changeId and its digests come from
    the one manifest of it. A disk that is new, grown, reverted, or whose tracking started over becomes a
    full, and the reason is told, recorded and shown by `plan`."""

    name = "choose-parent"
    formerly = ("base",)
    lifetime = Lifetime.KEEP
    In = ChooseParentIn
    Out = Base
    example = (
        'uses: choose-parent, each: {disk: "${{ discover.disks }}"}, with: {vm: "${{ discover.vm }}", '
        'disk: "${{ disk }}", snapshot: "${{ snapshot }}", repository: main, mode: auto}'
    )
    errors = (
        "with mode: incremental: no incremental can be made (the reason is shown)",
        "the directory of the VM's restore points belongs to a VM of another vCenter",
        "the vCenter's answer for the changed areas contradicts itself",
    )

    def check(self, ctx: Context, inputs: ChooseParentIn, recorded: Base | None) -> Base | None:
        """A decision stands as long as what it is built on can be relied on."""
        if recorded is None or recorded.parent is None:
            return recorded
        host, root = locate(ctx, inputs.repository)
        directory = vm_directory.look(ctx, host, root, inputs.vm)
        if vm_place.point_of_run(host, directory, ctx.run.id) is not None:
            return recorded
        return recorded if parent.is_sound(host, directory, recorded.parent, recorded.disk_key) else None

    def run(self, ctx: Context, inputs: ChooseParentIn, live: Empty) -> Base:
        base = _decide(ctx, inputs, lambda below: _changed(ctx, inputs, below))
        if refused := _refused(inputs, base):
            raise refused
        return base

    def preflight(self, ctx: Context | None, known: Known[ChooseParentIn, Base]) -> Preflight[Base]:
        settings, inputs = _settings(known), known.inputs
        if ctx is None or inputs is None or known.out is not None:
            decided = () if known.out is None else (_decision(known.out),)
            return Preflight(settings=settings, decisions=decided)
        base = _decide(ctx, inputs, lambda below: _foreseen(ctx, inputs, below))
        subject, looked_at = f"disk {inputs.disk.key}", "whether it can be incremental"
        if refused := _refused(inputs, base):
            seen = wrong(subject, looked_at, refused.message)
        else:
            seen = noted(subject, looked_at, _foretold(inputs, base))
        return Preflight(
            settings=settings,
            observations=(seen,),
            size=base.changed,
            decisions=(_decision(base),),
            prospect=base,
        )

    def report(self, out: Base) -> StepReport:
        cells = {"Kind": Cell(value=out.kind)}
        if out.changed is not None:
            cells["Changed"] = Cell(value=out.changed, unit="bytes")
        # Why it is a full must be known; what an incremental is built on is the usual thing.
        about: Literal["noted", "how"] = "noted" if out.kind == "full" else "how"
        statements = [Statement(about=about, text=f"Disk {out.disk_key}: {in_words(out)}.")]
        alarm = None
        if out.caught:
            text = (
                f"disk {out.disk_key} could not be backed by its last restore point: {out.caught}; this "
                f"run made a full instead; no longer trusted: {', '.join(out.distrusted)}"
            )
            alarm = Alarm(
                text=text,
                exit_code=DifferenceError.exit_code,
                brief="no longer trusted",
                subjects=out.distrusted,
                noun="point",
            )
        return StepReport(
            rows=(Row(table="Disks", key=str(out.disk_key), cells=cells),),
            statements=tuple(statements),
            alarm=alarm,
        )


def _decision(base: Base) -> Decision:
    """On which chain, not on which point of it: a newer one may be there by the time of the run."""
    facts = {} if base.parent is None else {"chain": base.parent.full}
    return Decision(subject=f"disk {base.disk_key}", choice=base.kind, facts=facts, why=base.reason)


def in_words(base: Base) -> str:
    """Without a full stop."""
    if base.parent is None:
        return f"full: {base.reason}"
    if base.by == "digests":
        how = "the whole disk is read, and what does not match that point's digests is written"
        how = f"{base.untold}, so {how}" if base.untold else how
    elif base.changed is None:
        how = "how much changed is not known before the snapshot"
    else:
        how = f"{human_bytes(base.changed)} may have changed"
    return f"incremental on {base.parent.point}: {how}"


def _foretold(inputs: ChooseParentIn, base: Base) -> str:
    """With the bytes that will be looked at, as far as they are known before a snapshot."""
    if base.by == "all":
        return f"full of {human_bytes(inputs.disk.capacity)}: {base.reason}"
    return in_words(base)


def _refused(inputs: ChooseParentIn, base: Base) -> NoIncrementalError | None:
    if base.kind == "full" and inputs.mode == "incremental" and not base.caught:
        return NoIncrementalError(inputs.disk.key, base.reason)
    return None


def _settings(known: Known[ChooseParentIn, Base]) -> tuple[Setting, ...]:
    told = known.told
    if "mode" not in told:
        return ()
    every = told.get("full_every", FullEvery())
    again = [f"{every.points} points"] if every.points is not None else []
    again += [f"{every.days:g} days"] if every.days is not None else []
    parts = [told["mode"]]
    if told["mode"] != "full":
        parts += [f"incremental by {told['incremental']}"] if "incremental" in told else []
    if told["mode"] == "auto":
        only = "a full only where no incremental can be made"
        parts.append(f"a full every {' or '.join(again)}" if again else only)
    return (Setting(name="mode", text=", ".join(parts)),)


def _decide(ctx: Context, inputs: ChooseParentIn, ask: Callable[[Parent], int | None]) -> Base:
    """`ask` answers how many bytes changed, None if that is not known yet; it raises NoParentError,
    TrackingError."""
    vm, snapshot = inputs.vm, inputs.snapshot.moref
    identity: dict[str, Any] = {
        "disk_key": inputs.disk.key,
        "vcenter": vm.vcenter,
        "vm": vm.moref,
        "snapshot": snapshot,
    }
    try:
        if inputs.mode == "full":
            raise NoParentError("the job says `mode: full`")
        host, root = locate(ctx, inputs.repository)
        found = _parent(ctx, inputs, host, root)
        untold = "" if inputs.incremental == "digests" else _rolled_back(inputs, found)
        by = "digests" if untold else inputs.incremental
        changed = ask(found) if by == "cbt" else None
    except (NoParentError, TrackingError) as error:
        why = error if isinstance(error, NoParentError) else NoParentError(error.message)
        return Base(
            **identity,
            kind="full",
            by="all",
            reason=why.message,
            caught=why.caught,
            distrusted=why.distrusted,
        )
    return Base(
        **identity,
        kind="incremental",
        by=by,
        reason=f"backed by {found.point}{untold and '; '}{untold}",
        parent=found,
        changed=changed,
        untold=untold,
    )


def _rolled_back(inputs: ChooseParentIn, below: Parent) -> str:
    """Why tracking since the parent does not tell all of it; empty where no rollback came between."""
    run = frozen_disk(inputs.snapshot, inputs.disk).rolled_back
    return (
        ""
        if run == below.rolled_back
        else f"a rollback (run {run}) came between, and tracking need not see that"
    )


def _parent(ctx: Context, inputs: ChooseParentIn, host: Host, root: str) -> Parent:
    """Raises NoParentError."""
    vm, disk = inputs.vm, inputs.disk
    directory = vm_directory.look(ctx, host, root, vm)
    sought = Sought(disk.key, disk.backing_uuid, disk.capacity, vm.vcenter_uuid, vm.instance_uuid)
    found = parent.find(host, directory, sought, ctx.run.id)
    every, last = inputs.full_every, found.last_full
    if inputs.mode == "auto" and every.points is not None and last.points >= every.points:
        raise NoParentError(f"the job wants one every {every.points} points")
    if inputs.mode == "auto" and every.days is not None:
        # By this machine's clock: a snapshot's time is by the vCenter's, which may be wrong for a night.
        age = datetime.now(UTC) - last.at
        if age >= timedelta(days=every.days):
            raise NoParentError(f"the job wants one every {every.days:g} days")
        if age < -APART:
            raise NoParentError(
                f"the job wants one every {every.days:g} days, and the last is of "
                f"{last.at:%Y-%m-%d %H:%M}, in the future"
            )
    return found


def _refuse_untracked(inputs: ChooseParentIn, below: Parent, untracked: Untracked) -> str:
    """The parent's changeId; `untracked`: why the next point will have none. Raises NoParentError."""
    remedy = inputs.snapshot.untracked_remedy
    if untracked == "never":
        raise NoParentError(f"vSphere cannot track changed blocks of such a disk: {NEVER_TRACKED}")
    if untracked == "missing":
        on = "changed block tracking is on for the VM, but this disk has no changeId"
        raise NoParentError(f"{on}: {remedy or tracking.RESET}")
    if below.change_id is None:
        why = f"changed block tracking was off for it when {below.point} was made"
        raise NoParentError(f"{why}, and still is: {remedy or tracking.REMEDY}" if untracked else why)
    if untracked:
        raise NoParentError(f"changed block tracking is off for it: {remedy or tracking.REMEDY}")
    return below.change_id


def _changed(ctx: Context, inputs: ChooseParentIn, below: Parent) -> int:
    frozen = frozen_disk(inputs.snapshot, inputs.disk)
    now = frozen.change_id
    since = _refuse_untracked(inputs, below, frozen.untracked or ("" if now is not None else "off"))
    assert now is not None, "it is refused where nothing is tracked"
    if why := cbt.why_lost(since, now):
        raise NoParentError(why)
    client, disk = vcenter(ctx, inputs.vm.vcenter), inputs.disk
    found = cbt.areas(client, inputs.vm.moref, inputs.snapshot.moref, disk.key, disk.capacity, since)
    return sum(length for _, length in found)


def _will_be_untracked(client: Client, inputs: ChooseParentIn, below: Parent) -> Untracked:
    """As far as it can be told before there is a snapshot."""
    disk = inputs.disk
    if disk.change_tracking:
        # Of a disk whose last changeId is known, the next snapshot tells: a setting is no proof that there
        # will be none.
        if below.change_id is not None or client.looks_at_many:
            return ""
        return "" if cbt.is_on_for(client, inputs.vm.moref, hardware.place(disk)) else "missing"
    return "never" if cbt.is_on(client, inputs.vm.moref) else "off"


def _foreseen(ctx: Context, inputs: ChooseParentIn, below: Parent) -> int | None:
    """Before there is a snapshot, only a VM that is off can be asked (API reference,
    QueryChangedDiskAreas), and of thousands none is."""
    if inputs.snapshot.moref:
        return _changed(ctx, inputs, below)
    client, disk = vcenter(ctx, inputs.vm.vcenter), inputs.disk
    since = _refuse_untracked(inputs, below, _will_be_untracked(client, inputs, below))
    if client.looks_at_many or machine.powered_on(client, inputs.vm.moref):
        return None
    return sum(
        length for _, length in cbt.areas(client, inputs.vm.moref, None, disk.key, disk.capacity, since)
    )
