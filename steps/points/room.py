"""What can be deleted without any room to work in: points that nothing which stays is backed by, so no image
is rebuilt for it. Changes nothing but by `delete`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.base.model import Model
from runner.base.units import counted, human_bytes
from runner.hosts.host import Host
from steps.brake import released
from steps.points import retention_plan
from steps.points.pruning import drop, finish_drops
from steps.qemu.img import BadImageError
from steps.repository import reader, retention
from steps.repository.history import Entry
from steps.repository.locked import IsLockedError
from steps.repository.naming import Names
from steps.repository.retention import Policy
from steps.repository.section import BrakeLimits
from steps.repository.vm_directory import VmDirectory
from steps.trail.log import Log

NEWEST = Policy(keep_last=1)
"""What stays whatever room is wanted."""


class Expendable(Model):
    """A restore point that may go."""

    vm: str
    """What the VM is called where no other is to be meant"""
    instance_uuid: str
    """That in the name of the VM's directory"""
    directory: str
    """The VM's, absolute"""
    point: str
    """Its name"""
    frees: int
    """Bytes that its files take; on a file system whose files share blocks perhaps fewer become free"""
    why: str
    """In words"""


@dataclass(frozen=True)
class Found:
    points: tuple[Expendable, ...]
    """In the order in which they go: oldest chains first, and of each chain the newest point, on which
    nothing else stands."""
    refused: tuple[tuple[VmDirectory, str], ...]
    """VMs of which nothing is deleted, and why."""


def expendable(
    host: Host,
    names: Names,
    vms: Iterable[VmDirectory],
    now: datetime,
    brake: BrakeLimits | None,
) -> Found:
    """Of `vms`. Raises CommandError."""
    chains: list[tuple[datetime, list[Expendable]]] = []
    refused: list[tuple[VmDirectory, str]] = []
    for vm in vms:
        try:
            entries = _may_go(host, vm, now, brake)
        except _Refused as refusal:
            refused.append((vm, str(refusal)))
            continue
        label = names.label(vm)
        for chain in _chains(entries):
            newest = max(entry.moment for entry in chain)
            why = f"of a chain of {counted(len(chain), 'point')}, the newest of {newest:%Y-%m-%d}"
            points = [
                Expendable(
                    vm=label,
                    instance_uuid=vm.uuid,
                    directory=vm.path,
                    point=entry.point,
                    frees=vm.stored_in(entry.path),
                    why=why,
                )
                for entry in reversed(chain)
            ]
            chains.append((newest, points))
    chains.sort(key=lambda chain: chain[0])
    return Found(tuple(point for _, points in chains for point in points), tuple(refused))


def enough(points: Iterable[Expendable], wanted: int) -> tuple[Expendable, ...]:
    """The first of `points` that free `wanted` bytes together; all of them where they do not."""
    found: list[Expendable] = []
    for point in points:
        if wanted <= 0:
            break
        found.append(point)
        wanted -= point.frees
    return tuple(found)


def delete(
    host: Host,
    directory: str,
    points: Iterable[str],
    size: int,
    now: datetime,
    log: Log,
    brake: BrakeLimits | None,
) -> Iterator[tuple[str, bool]]:
    """Of one VM, whose lock is held: each of `points`, in order, until `size` bytes are free, and whether it
    is gone; one that something stands on meanwhile, or that must stay, is not. What an earlier command was
    killed at is finished first. Raises HasChildrenError, ProtectedMeanwhileError, HostError."""
    finish_drops(host, directory, log)
    immutable: set[str] = set()
    may_go = _still(host, directory, now, brake, immutable)
    for point in points:
        if host.free_bytes(directory) >= size:
            return
        if point in may_go:
            try:
                drop(host, directory, point, log, f"to have {human_bytes(size)} free")
            except IsLockedError as error:
                log.warn(error.message)
                immutable.add(point)
                may_go = _still(host, directory, now, brake, immutable)
        yield point, point in may_go


def _still(
    host: Host, directory: str, now: datetime, brake: BrakeLimits | None, immutable: Collection[str]
) -> set[str]:
    """Names of the VM's points that may go now."""
    try:
        return {entry.point for entry in _may_go(host, reader.read(host, directory), now, brake, immutable)}
    except _Refused:
        return set()


class _Refused(Exception):
    pass


def _may_go(
    host: Host,
    vm: VmDirectory,
    now: datetime,
    brake: BrakeLimits | None,
    immutable: Collection[str] = (),
) -> list[Entry]:
    """Oldest first. Raises _Refused."""
    if vm.unread:
        raise _Refused(retention_plan.unread(vm))
    if (braked := released.sentence(host, vm, brake)) is not None:
        raise _Refused(braked)
    try:
        stood_on = retention_plan.stood_on(host, vm) | retention_plan.locked_points(vm, immutable)
    except BadImageError as error:
        raise _Refused(f"{error.message}, so that run's parent is unknown") from error
    decisions = retention.keep(vm.chains, NEWEST, now, stood_on)
    stay = {decision.point for decision in decisions if decision.keep}
    # Newest first: each is looked at after all that may be built on it.
    for entry in reversed(vm.entries):
        if entry.point in stay:
            stay.update(disk.parent for disk in entry.manifest.disks if disk.parent is not None)
    return [entry for entry in vm.entries if entry.point not in stay]


def _chains(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Those that are built on each other, by any of their disks, together; each oldest first."""
    of: dict[str, list[Entry]] = {}
    for entry in entries:
        below = {id(of[disk.parent]): of[disk.parent] for disk in entry.manifest.disks if disk.parent in of}
        chain, *others = below.values() or [[]]
        for other in others:  # its disks came together from several
            chain += other
            of.update((one.point, chain) for one in other)
        chain.append(entry)
        of[entry.point] = chain
    places = {entry.point: place for place, entry in enumerate(entries)}
    chains = {id(chain): chain for chain in of.values()}.values()
    return [sorted(chain, key=lambda entry: places[entry.point]) for chain in chains]
