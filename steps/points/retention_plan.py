"""What a policy means for a repository: of each VM what stays, what goes, what is rebuilt, and what that
takes. Changes nothing; `sendense prune --dry-run`, the plan of a job and the run itself ask here."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from runner.base.errors import SendenseError
from runner.base.model import Model
from runner.base.units import MiB, counted, human_bytes
from runner.hosts.host import Host
from steps.brake import released
from steps.points import sharing
from steps.qemu import img
from steps.qemu.img import BadImageError
from steps.repository import layout, reader, retention, vm_place
from steps.repository.history import Entry
from steps.repository.naming import Names
from steps.repository.retention import Move, Plan, Policy
from steps.repository.section import BrakeLimits
from steps.repository.verification_records import Marks
from steps.repository.vm_directory import VmDirectory

SPARE = 64 * MiB
"""Of room: manifests, tables."""


class Work(Model):
    """Bytes on the repository host."""

    room: int
    """That must be free at the beginning"""
    copied: int
    """Of fulls that must be copied whole, where files cannot share blocks"""
    freed: int
    """That the deleted points take now"""

    @property
    def sentence(self) -> str:
        return (
            f"a full copy of {human_bytes(self.copied)}, {sharing.copied_in(self.copied)}; "
            f"{human_bytes(self.room)} must be free"
        )


class VmPlan(Model):
    """Of one VM."""

    key: str
    """Name of the VM's directory"""
    vm: str
    """The VM's name in its newest point"""
    label: str = ""
    """What it is called where no other is to be meant: its name, and more where another VM there has that
    name too"""
    instance_uuid: str
    """Its instance uuid"""
    plan: Plan
    """What stays, what goes, what is rebuilt"""
    work: Work
    """What that takes"""
    leftovers: bool
    """Whether a prune was killed there: it is finished first"""
    refused: str | None
    """Why nothing is done there, in words"""
    braked: str | None = None
    """Why nothing is deleted there though it could be, in words: it changes as if it were being encrypted"""

    @property
    def due(self) -> bool:
        return self.refused is None and (self.leftovers or bool(self.plan.drops or self.plan.moves))


class NoRoomError(SendenseError):
    def __init__(self, host: Host, vm: VmPlan, free: int) -> None:
        super().__init__(
            f"{vm.label} is not pruned: rebuilding its images needs {human_bytes(vm.work.room)} free on "
            f"{host.name}, which has {human_bytes(free)}; make room, or keep its oldest points"
        )


def of_vms(
    host: Host,
    names: Names,
    vms: Iterable[VmDirectory],
    policy: Policy,
    now: datetime,
    *,
    shares: bool,
    brake: BrakeLimits | None,
    confirmed: Mapping[str, Collection[str]] | None = None,
) -> tuple[VmPlan, ...]:
    """Of `vms`, each called as `names` tells it from the others. `confirmed`: by instance uuid, the points
    that may go; of VMs that are not among them nothing is done. Raises CommandError."""
    found = []
    for vm in vms:
        may_go = None if confirmed is None else confirmed.get(vm.uuid)
        if confirmed is None or may_go is not None:
            pinned = stays_but_for(vm, may_go)
            made = plan_of(host, vm, policy, now, pinned, shares=shares, brake=brake)
            found.append(made.model_copy(update={"label": names.label(vm)}))
    return tuple(found)


def stays_but_for(vm: VmDirectory, points: Collection[str] | None) -> dict[str, str]:
    """What is to be pinned so that no point but `points` goes; None: any may."""
    if points is None:
        return {}
    return {
        entry.point: "it was not planned for deletion when this was decided"
        for entry in vm.entries
        if entry.point not in points
    }


def plan_of(
    host: Host,
    vm: VmDirectory,
    policy: Policy,
    now: datetime,
    pinned: Mapping[str, str] | None = None,
    *,
    shares: bool,
    brake: BrakeLimits | None,
    immutable: Collection[str] = (),
) -> VmPlan:
    """`pinned`: points that must stay, and why. `brake`: when none goes at all. `immutable`: points that are
    as good as locked, though nobody says until when."""
    held, refused = dict(pinned or {}), None
    if (braked := released.sentence(host, vm, brake)) is not None:
        held |= {entry.point: "the brake is on" for entry in vm.entries}
        policy = policy.model_copy(update={"max_chain": None})  # what is on hold is not rebuilt either
    if vm.unread:
        refused = unread(vm)
    else:
        try:
            held |= stood_on(host, vm)
        except BadImageError as error:
            refused = f"{error.message}, so that run's parent is unknown"
    locked = locked_points(vm, immutable)
    made = (
        retention.plan(vm.chains, policy, now, held | locked, locked)
        if refused is None
        else retention.nothing(vm.entries)
    )
    return VmPlan(
        key=vm.name,
        vm=vm.vm_name,
        label=vm.vm_name,
        instance_uuid=vm.uuid,
        plan=made,
        work=_work(vm, made, shares=shares),
        leftovers=vm.leftovers,
        refused=refused,
        braked=braked,
    )


def foreseen(
    host: Host,
    root: str,
    instance_uuid: str,
    policy: Policy,
    now: datetime,
    brake: BrakeLimits | None,
) -> VmPlan | None:
    """What a policy would drop of one VM once the run that is planned has published a good point: a forecast,
    since the run decides by what is there then. None where the VM has no points yet. Raises
    NotARepositoryError, CommandError."""
    directory = vm_place.find(host, root, instance_uuid)
    if directory is None:
        return None
    vm = reader.read(host, directory)
    if not (vm.entries or vm.unread):
        return None
    if not vm.entries:
        return plan_of(host, vm, policy, now, shares=False, brake=brake)
    point, files = _next(vm, now)
    after = replace(vm, entries=(*vm.entries, point), stored={**vm.stored, **files})
    return plan_of(host, after, policy, now, shares=sharing.may_share(host, root), brake=brake)


def _next(vm: VmDirectory, now: datetime) -> tuple[Entry, dict[str, int]]:
    """A good full of this moment with the disks of the newest point, and its files: a point of its own chain,
    so that no rule counts anything against it."""
    newest = vm.entries[-1].manifest
    name = f"{now:%Y%m%dT%H%M%SZ}-0000"
    path = posixpath.join(vm.path, name)
    disks = [
        disk.model_copy(update={"parent": None, "level": "full", "compared": disk.blocks})
        for disk in newest.disks
    ]
    clocks = dict.fromkeys(("created", "published", "stored"), now)
    which = {
        "schema_version": 2,
        "point": name,
        "sequence": vm.next_sequence(),
        "run": f"{now:%Y%m%dT%H%M%SZ}-00000000",
    }
    made = newest.model_copy(update={**clocks, **which, "level": "full", "disks": tuple(disks)})
    files = {posixpath.join(path, file): 1 for disk in disks for file in (disk.image, disk.digests)}
    return Entry(path, made, Marks()), files


def locked_points(vm: VmDirectory, immutable: Collection[str] = ()) -> dict[str, str]:
    """Points that cannot be deleted, and why: those that stand in locked.json, until root's timer takes them
    out, and those that were found `immutable`, with all that they are built on."""
    found: dict[str, str] = {}
    for entry in vm.entries:
        until = vm.locked.get(entry.point)
        if until is None and entry.point not in immutable:
            continue
        found[entry.point] = "it is immutable" if until is None else f"locked until {until:%Y-%m-%d}"
        for disk in entry.manifest.disks:
            for below in vm.chains.of(entry, disk.key)[1:]:
                found.setdefault(below.point, f"{entry.point}, which is locked, is backed by it")
    return found


def unread(vm: VmDirectory) -> str:
    """Why nothing of the VM is deleted, of whose points some could not be read, without a full stop."""
    first, *others = vm.unread
    more = f", nor {counted(len(others), 'other path')} there" if others else ""
    return f"{first.sentence}{more}: repair it, or move it out of {vm.path}"


def stood_on(host: Host, vm: VmDirectory) -> dict[str, str]:
    """Points that unfinished runs are built on, by what their images say. Raises BadImageError."""
    images = [
        path for path in vm.stored if posixpath.dirname(path) in vm.unfinished and path.endswith(".qcow2")
    ]
    found: dict[str, str] = {}
    for path, seen in zip(images, img.infos(host, images) if images else (), strict=True):
        if seen.backing_file is not None:
            point = posixpath.basename(posixpath.dirname(seen.backing_file))
            run = posixpath.basename(posixpath.dirname(path)).removesuffix(layout.PARTIAL)
            found[point] = f"the unfinished run {run} is backed by it"
    return found


def _work(vm: VmDirectory, made: Plan, *, shares: bool) -> Work:
    """Upper bounds: an image that takes in those between grows by what they take."""
    sizes = {
        (entry.point, disk.key): vm.stored.get(posixpath.join(entry.path, disk.image), 0)
        for entry in vm.entries
        for disk in entry.manifest.disks
    }
    parents = {(entry.point, disk.key): disk.parent for entry in vm.entries for disk in entry.manifest.disks}
    net = peak = copied = 0
    for move in made.moves:
        image = (move.point, move.key)
        overlay = _merged(move, sizes, parents)
        full = sizes[(move.root, move.key)] if move.onto is None and not shares else 0
        beside = (
            overlay if move.onto is None else 0
        )  # of what is written into the copy of the full, a copy too
        peak, net = max(peak, net + full + overlay + beside), net + full + overlay - sizes[image]
        copied += full
        sizes[image], parents[image] = full + overlay, move.onto
    freed = sum(
        sizes[(point, disk.key)] for point in made.drops for disk in vm.chains.by_name[point].manifest.disks
    )
    return Work(room=peak + SPARE if made.moves else 0, copied=copied, freed=freed)


def _merged(
    move: Move, sizes: Mapping[tuple[str, int], int], parents: Mapping[tuple[str, int], str | None]
) -> int:
    """What the image takes with all between it and what it is put on."""
    total, at = 0, move.point
    while at != (move.onto or move.root):
        total += sizes[(at, move.key)]
        below = parents[(at, move.key)]
        if below is None:
            break
        at = below
    return total
