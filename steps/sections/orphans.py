"""What runs left whose records are lost: snapshots and unfinished VMs in vCenter, unfinished points, and what
carries their mark on a host.

An orphan is released only when its repository is one of the job's and the VM's lock there is free, and while
we hold that lock: a run that writes there and lives, wherever, has it. All others are named, with what blocks
them: another job may have the records of a dead run and resume on its snapshot, and what only reads a restore
point needs no lock.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from runner.base.errors import SendenseError
from runner.hosts.held_lock import holder_of
from runner.hosts.host import Host
from runner.hosts.identity import Identity
from runner.hosts.stray_processes import Marked as MarkedProcess
from runner.hosts.stray_processes import end, holder_at, look
from runner.step.context import Context
from runner.step.section import Kept, Orphan, Surroundings
from steps.certify import leftovers
from steps.new_vm import unfinished
from steps.repository import layout, marker, reader
from steps.repository.section import Repository
from steps.vm import tracking_reset
from steps.vsphere import marks, snapshots
from steps.vsphere.client import Client, vcenter
from steps.vsphere.marks import Marked
from steps.vsphere.owner import PREFIX, read_owner


@dataclass(frozen=True)
class Place:
    """A repository of the job."""

    host: Host
    root: str
    uuid: str

    def is_lock(self, path: str) -> bool:
        """Whether `path` is that of a VM's lock here: descriptions of snapshots are anybody's to write."""
        directory, name = posixpath.split(path)
        vm = posixpath.basename(directory)
        return (posixpath.dirname(directory), name) == (self.root, layout.LOCK) and (
            layout.uuid_of_vm_directory(vm) is not None
        )


def find_orphans(ctx: Context, surroundings: Surroundings) -> Iterator[Orphan]:
    """Raises NotARepositoryError, HostError, VSphereError: where one place cannot be looked at, nothing is
    known of what the others hold."""
    where, kept = _places(ctx, surroundings.sections.get("repositories", {}).values()), surroundings.kept
    jobs: dict[str, str] = {}
    for name in surroundings.sections.get("vcenters", {}):
        client = vcenter(ctx, name)
        for marked in marks.find(client, marks.RESTORE):
            yield _machine(client, marked, kept)
        for marked in marks.find(client, marks.ROLLBACK):
            yield _half_rolled_back(client, marked, kept)
        for scratch in leftovers.found(client):
            yield _scratch(client, scratch)
        for vm, vm_name, snapshot in snapshots.named(client, PREFIX):
            if (owner := read_owner(snapshot.description)) is not None:
                jobs[owner.run] = owner.job
            yield _snapshot(
                ctx, client, vm, f"snapshot {snapshot.name} of VM {vm_name}", snapshot, where, kept
            )
    at = {place.host.name for place in where}
    told: set[Identity] = set()
    # Two names may be of one machine: what serves a repository is looked for under that one's.
    for name in sorted(surroundings.hosts, key=lambda name: name not in at):
        host = ctx.host(name)
        for process in look(host).processes:
            if process.execution == ctx.run.execution or process.process in told:
                continue
            told.add(process.process)
            yield _process(ctx, host, process, where)
    for place in where:
        for vm_directory in reader.read_all(place.host, place.root).vms.values():
            for one in vm_directory.unread:
                ctx.warn(f"{one.sentence}, so runs may have left more there than is listed")
            for path in vm_directory.unfinished:
                if (run := layout.run_of_partial(posixpath.basename(path))) is not None:
                    yield _unfinished(ctx, place, path, run, jobs.get(run), kept)


def _places(ctx: Context, repositories: Iterable[Repository]) -> tuple[Place, ...]:
    found = []
    for entry in repositories:
        host = ctx.host(entry.host)
        found.append(Place(host, entry.path, marker.require(host, entry.path).uuid))
    return tuple(found)


def _machine(client: Client, vm: Marked, kept: Kept) -> Orphan:
    """A VM that a restore made and did not finish. No lock tells whether that run lives, since a restore only
    reads the repository: so it goes with a run that is abandoned by its id, as all data that was copied."""
    what = f"unfinished VM {vm.name} ({vm.moref}) in vCenter {client.name}"
    mark = vm.mark
    if mark is None:
        return _left(what, "", "its mark does not say whose it is")
    if not unfinished.is_of(vm, mark.run):
        # Of no run: what is abandoned is never somebody's copy.
        return _left(
            what, "", "its name is not that of an unfinished VM, so it may be somebody's copy of one"
        )

    def remove() -> None:
        if (found := unfinished.as_it_is(client, vm.moref, mark.run)) is not None:
            unfinished.destroy(client, found)

    return Orphan(what, mark.run, kept(mark.run, mark.job), remove, copied=True)


def _half_rolled_back(client: Client, vm: Marked, kept: Kept) -> Orphan:
    """Which of its disks were written, and what they had before, the run's records tell alone."""
    what = f"half rolled back VM {vm.name} ({vm.moref}) in vCenter {client.name}"
    mark = vm.mark
    if mark is None:
        return _left(what, "", "its mark does not say whose it is")
    why = kept(mark.run, mark.job)
    lost = (
        f"{why + '; ' if why else ''}if the records of its run are lost, remove the advanced setting "
        f"{marks.ROLLBACK} in vSphere and roll it back again, which compares every block"
    )
    return _left(what, mark.run, lost)


def _scratch(client: Client, vm: Marked) -> Orphan:
    """What a certify left that was killed."""
    mark = vm.mark
    run, stays = ("", None) if mark is None else (mark.run, leftovers.why_it_stays(mark) or None)
    what = f"scratch VM {vm.name} ({vm.moref}) in vCenter {client.name}"
    return Orphan(what, run, stays, lambda: leftovers.remove(client, vm))


def _snapshot(
    ctx: Context,
    client: Client,
    vm: str,
    what: str,
    snapshot: snapshots.Snapshot,
    where: tuple[Place, ...],
    kept: Kept,
) -> Orphan:
    run = snapshot.name.removeprefix(PREFIX).removesuffix(tracking_reset.SUFFIX)
    owner = read_owner(snapshot.description)
    if owner is None or owner.run != run:
        return _left(what, run, "its description does not say whose it is")
    place = next((place for place in where if place.uuid == owner.repository), None)
    if place is None or owner.lock is None:
        return _left(what, run, f"its repository {owner.repository or ''} is not one of this job".strip())
    if not place.is_lock(owner.lock):
        return _left(what, run, f"{owner.lock} is not a VM's lock in {place.root}")

    def remove(lock: str) -> None:
        with _held(ctx, place, lock):
            snapshots.remove(client, vm, snapshot.moref)
            snapshots.consolidate_if_needed(client, vm)

    stays = _busy(place, owner.lock) or kept(run, owner.job)
    return Orphan(what, run, stays, partial(remove, owner.lock))


def _unfinished(ctx: Context, place: Place, path: str, run: str, job: str | None, kept: Kept) -> Orphan:
    """`job`: whose it is, as far as its snapshot tells."""
    lock = posixpath.join(posixpath.dirname(path), layout.LOCK)

    def remove() -> None:
        with _held(ctx, place, lock):
            place.host.remove(path, recursive=True)

    stays = _busy(place, lock) or kept(run, job)
    return Orphan(f"unfinished point {path} on {place.host.name}", run, stays, remove, copied=True)


def _process(ctx: Context, host: Host, process: MarkedProcess, where: tuple[Place, ...]) -> Orphan:
    what = f"process {process.process.pid} ({posixpath.basename(process.program)}) on {host.name}"
    for place in where:
        if place.host.name != host.name:
            continue
        for word in process.command:
            lock = posixpath.join(posixpath.dirname(posixpath.dirname(word)), layout.LOCK)
            if word.startswith(f"{place.root}/") and place.is_lock(lock):
                if not _is_written(word):
                    why = f"it reads {word}, which needs no lock: its run may live"
                    return _left(what, process.run, why)
                return Orphan(what, process.run, _busy(place, lock), partial(_end, ctx, place, lock, process))
    return _left(what, process.run, "it serves no image of this job's repositories")


def _is_written(image: str) -> bool:
    """Whether only who has the VM's lock works on it."""
    return posixpath.dirname(image).endswith((layout.PARTIAL, layout.REBUILT))


def _end(ctx: Context, place: Place, lock: str, process: MarkedProcess) -> None:
    with _held(ctx, place, lock):
        end(place.host, (process.process,))


def _left(what: str, run: str, why: str) -> Orphan:
    def refuse() -> None:
        raise SendenseError(f"{what} is kept: {why}")

    return Orphan(what, run, why, refuse)


def _busy(place: Place, lock: str) -> str | None:
    holder = holder_at(place.host, lock)
    return None if holder is None else f"its VM is locked by {holder}"


@contextmanager
def _held(ctx: Context, place: Place, path: str) -> Iterator[None]:
    holder = holder_of("orphans", ctx.run.job, ctx.run.execution)
    lock = place.host.lock(path, str(holder), holder.token)
    try:
        yield
    finally:
        lock.release()
