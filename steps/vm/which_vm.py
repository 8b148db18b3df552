"""Which VM a job means, by what it says and by what it backed up before.

A name goes from one VM to another: by a clone in another folder, a rename, a VM deleted and recreated. An
instance uuid does not, and a job continues with the VM that it backed up last for as long as that is there.
Where it is not, the VM that has the name now is another one, with restore points of its own, unless its BIOS
uuid and disks are those of the one that was backed up: then a person decides (`sendense adopt`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import Interrupted, SendenseError
from runner.base.slug import slug
from runner.base.units import counted
from runner.step.context import Context
from steps.repository import backed_up, identities, layout, vm_place
from steps.repository.backed_up import BackedUp
from steps.repository.identities import DiskIdentity, Identity
from steps.repository.section import locate
from steps.vsphere import find, machine
from steps.vsphere.client import Client
from steps.vsphere.find import Ambiguous, Candidate
from steps.vsphere.machine import Machine
from steps.vsphere.names import unescape


class NotAdopted(SendenseError):
    """`found` has another instance uuid than what was backed up before, but its BIOS uuid and a disk of
    it."""

    def __init__(self, wanted: str, found: Machine, before: BackedUp) -> None:
        self.found = found
        self.before = before
        rebuilt = not identities.same(before.vm.vcenter_uuid, found.vm.vcenter_uuid)
        super().__init__(
            f"the instance uuid of VM '{wanted}' is {found.vm.instance_uuid} now; what was backed up before "
            f"had {before.vm.instance_uuid}{' in another vCenter' if rebuilt else ''}, the same BIOS "
            "uuid and the same disks: `sendense adopt JOB` shows both, and continues the restore points in "
            f"{before.directory}"
        )


@dataclass(frozen=True)
class Chosen:
    """`before`: as it was backed up last."""

    moref: str
    warnings: tuple[str, ...] = ()
    """What changed in vSphere since the last backup and must be looked at."""
    notes: tuple[str, ...] = ()
    """Facts that stay true: sentences without a full stop."""
    before: Identity | None = None

    def changes(self, now: Identity) -> tuple[str, ...]:
        """What else tells VMs from each other and is not what it was. (Of its disks, the step `base` says it
        of each.)"""
        if self.before is None or identities.same(self.before.bios_uuid, now.bios_uuid):
            return ()
        was = (
            f"the BIOS uuid of '{now.name}' is {now.bios_uuid or 'unset'} now, and was "
            f"{self.before.bios_uuid or 'unset'}"
        )
        return (f"{was} at its last backup; by its instance uuid, {now.instance_uuid}, it is the same VM",)


@dataclass(frozen=True)
class _Before:
    """What is known of earlier backups. `unread`: why that is not all."""

    all: Sequence[BackedUp] = ()
    own: Sequence[BackedUp] = ()
    """Those of this job, the last one last; only those of this vCenter where there are any, since a job may
    have VMs of one name from two of them."""
    unread: str = ""


def choose(ctx: Context, client: Client, wanted: str, repository: str | None) -> Chosen:
    """`wanted`: what the job says. Raises NotFound, Ambiguous, NotAdopted. What cannot be read of the
    repository keeps no job from a VM that is named unambiguously: the VM's lock is in the repository too, and
    who takes it says what is wrong there."""
    found = find.matching(client, wanted)
    if _says_which(wanted, found):
        _refuse_another_number(ctx, client, found[0], repository)
    before = _before(ctx, client, wanted, repository, found)
    last = before.own[-1] if before.own else None
    if last is None:
        return _by_name(client, wanted, found, before)
    kept = [_kept(other, wanted) for other in before.own[:-1]]
    same = [one for one in found if identities.same(one.instance_uuid, last.vm.instance_uuid)]
    if not same:
        same = list(find.by_uuid(client, last.vm.instance_uuid, instance=True))
        if not same:
            chosen = _another(client, wanted, found, last)
            return Chosen(chosen.moref, chosen.warnings, (*kept, *chosen.notes))
        return Chosen(same[0].moref, (_moved_on(wanted, same[0], found),), tuple(kept), last.vm)
    others = [one for one in found if one not in same]
    warnings = (_goes_on(wanted, same[0], others),) if others else ()
    return Chosen(same[0].moref, warnings, tuple(kept), last.vm)


def identity_of(seen: Machine) -> Identity:
    return Identity(
        vcenter_uuid=seen.vm.vcenter_uuid,
        instance_uuid=seen.vm.instance_uuid,
        bios_uuid=seen.vm.bios_uuid,
        name=seen.vm.name,
        inventory_path=seen.vm.inventory_path,
        disks=tuple(DiskIdentity(key=disk.key, backing_uuid=disk.backing_uuid) for disk in seen.disks),
    )


def _before(
    ctx: Context, client: Client, wanted: str, repository: str | None, found: Sequence[Candidate]
) -> _Before:
    if repository is None or _says_which(wanted, found):
        return _Before()
    try:
        host, root = locate(ctx, repository)
        seen = backed_up.as_called(
            host, root, wanted, [one.instance_uuid for one in found if one.instance_uuid]
        )
    except Interrupted:
        raise
    except SendenseError as error:
        return _Before(unread=error.message)
    own = [one for one in seen if one.job == ctx.run.job]
    return _Before(seen, [one for one in own if _is_here(one, client)] or own)


def _refuse_another_number(ctx: Context, client: Client, found: Candidate, repository: str | None) -> None:
    """Of a VM that is named by its instance uuid, as the children of a set name theirs, and has no directory
    yet: raises NotAdopted if one that was backed up under its name may be the same VM, whose instance uuid is
    nobody's any more. Others are not looked through: a set of thousands would read the whole repository for
    each new VM."""
    if repository is None:
        return
    name = unescape(found.path.rpartition("/")[2])
    try:
        host, root = locate(ctx, repository)
        # For a look ahead at thousands of VMs one answer is enough, and a run has one VM.
        every = ctx.once(("directories of VMs", host.name, root), lambda: vm_place.every(host, root))
        if found.instance_uuid.lower() in every.values():
            return
        alike = [posixpath.join(root, one) for one in every if layout.slug_of(one) == slug(name)]
        candidates = backed_up.in_directories(host, alike)
    except Interrupted:
        raise
    except SendenseError:
        return  # who takes the VM's lock says what is wrong with the repository
    for before in candidates:
        if identities.same(before.vm.instance_uuid, found.instance_uuid):
            return
        seen = machine.describe(client, found.moref)
        if identity_of(seen).resembles(before.vm) and not find.by_uuid(
            client, before.vm.instance_uuid, instance=True
        ):
            raise NotAdopted(name, seen, before)


def _says_which(wanted: str, found: Sequence[Candidate]) -> bool:
    """Whether `wanted` is the instance uuid of what was found: it cannot be another VM's."""
    return len(found) == 1 and identities.same(found[0].instance_uuid, wanted)


def _by_name(client: Client, wanted: str, found: Sequence[Candidate], before: _Before) -> Chosen:
    """Without an earlier backup of this job. Of several VMs, the one that some job backed up under this name
    is meant."""
    if not found:
        raise _with(find.not_found(client, wanted), before.unread)
    if len(found) > 1:
        backed = {one.vm.instance_uuid.lower() for one in before.all if _is_here(one, client)}
        known = [one for one in found if one.instance_uuid.lower() in backed]
        if len(known) != 1:
            raise _with(Ambiguous(wanted, found), before.unread)
        return Chosen(
            known[0].moref, (_goes_on(wanted, known[0], [one for one in found if one not in known]),)
        )
    return Chosen(found[0].moref)


def _is_here(one: BackedUp, client: Client) -> bool:
    return identities.same(one.vm.vcenter_uuid, client.uuid)


def _another(client: Client, wanted: str, found: Sequence[Candidate], last: BackedUp) -> Chosen:
    """What was backed up last no longer exists."""
    for one in found or find.by_uuid(client, last.vm.bios_uuid, instance=False):
        seen = machine.describe(client, one.moref)
        if identity_of(seen).resembles(last.vm):
            raise NotAdopted(wanted, seen, last)
    gone = (
        f"the one this job backed up before ({last.vm.inventory_path}, instance uuid "
        f"{last.vm.instance_uuid}, last backed up {_time(last.published)}) is no longer in vCenter "
        f"{client.name}"
    )
    if not found:
        raise _with(find.not_found(client, wanted), gone)
    if len(found) > 1:
        raise _with(Ambiguous(wanted, found), gone)
    (only,) = found
    warning = (
        f"another VM than the one this job backed up before: '{wanted}' is {only} now; {gone}; this one "
        "gets its own restore points, starting with a full"
    )
    return Chosen(only.moref, (warning,), (_kept(last, wanted),))


def _goes_on(wanted: str, chosen: Candidate, others: Sequence[Candidate]) -> str:
    return (
        f"'{wanted}' matches {len(others) + 1} VMs: the backup continues with the one that was backed up "
        f"before, {chosen}, and not with {'; '.join(map(str, others))}: write the path or the instance "
        f"uuid in the job, and a job for {'each of ' if len(others) > 1 else ''}the "
        f"other{'s' if len(others) > 1 else ''}"
    )


def _moved_on(wanted: str, chosen: Candidate, found: Sequence[Candidate]) -> str:
    begin = (
        f"the VM that this job backed up before as '{wanted}' is {chosen} now: the backup continues with it"
    )
    if not found:
        return f"{begin}; write in the job what it is called now, or its instance uuid"
    return (
        f"{begin}, and not with {'; '.join(map(str, found))}, which is another VM and is not backed up by "
        "this job; write the instance uuid or the path of the one that you mean"
    )


def _kept(other: BackedUp, wanted: str) -> str:
    stay, them = ("stays", "it") if other.points == 1 else ("stay", "them")
    return (
        f"{counted(other.points, 'restore point')} of another VM that this job backed up before as "
        f"'{wanted}' (instance uuid {other.vm.instance_uuid}, last {_time(other.published)}) {stay} in "
        f"{other.directory}: this job's retention leaves {them} alone, and `sendense prune JOB "
        f"{other.vm.instance_uuid} --keep-last N` prunes {them}"
    )


def _with(error: SendenseError, more: str) -> SendenseError:
    if more:
        error.add(more)
    return error


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
