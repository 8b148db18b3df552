"""What the repositories of one job have of its VMs, for the end of its run."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from runner.base.errors import StateError
from runner.base.slug import slug
from runner.hosts.host import Host
from runner.job.model import Job
from runner.step.context import Context
from runner.step.registry import Registry
from steps.brake import released
from steps.coverage import protection
from steps.coverage.jobs import BackupJob, backup_job
from steps.coverage.meaning import is_meant
from steps.coverage.protection import Protection
from steps.repository import layout, marker, reader, vm_place
from steps.repository.section import BrakeLimits, brake_of, locate
from steps.repository.vm_directory import VmDirectory


def protections(ctx: Context, job: Job, items: Sequence[str]) -> Mapping[str, Protection | None]:
    """Of a set by its `items`' ids, of any other job under the empty id; None where there is none. One read
    of each repository; of a job that names one VM only what is called so, where that is enough. Empty for a
    job that makes no restore points. Raises SendenseError."""
    found = backup_job(job, Registry.installed())
    if found is None:
        return {}
    places = [_Place(name, *locate(ctx, name), brake_of(ctx, name)) for name in found.repositories]
    if job.select is None:
        return _of_one(found, places)
    best = newest_by_uuid(one for place in places for one in place.all())
    return {item: best.get(item.lower()) for item in items if item}


@dataclass(frozen=True)
class _Place:
    """A repository of the job."""

    name: str
    host: Host
    root: str
    brake: BrakeLimits | None

    def all(self) -> Iterator[Protection]:
        for vm in protection.vms(self.host, self.root):
            yield self.of(vm)

    def of(self, vm: VmDirectory) -> Protection:
        found = protection.of(vm, self.name)
        try:
            brake = released.of_vm(self.host, vm, self.brake)
        except StateError as error:  # nothing of it is deleted either
            return replace(found, braked=error.message)
        if brake is None:
            return replace(found, braked="")
        return replace(found, braked=brake.notice, braked_since=brake.since)

    def called(self, wanted: str) -> list[Protection]:
        """Of VMs whose directories have that name, or uuid."""
        marker.require(self.host, self.root)
        called = slug(wanted.rstrip("/").rpartition("/")[2])
        names = [
            name
            for name, uuid in vm_place.every(self.host, self.root).items()
            if uuid == wanted.lower() or layout.slug_of(name) == called
        ]
        vms = (reader.read(self.host, posixpath.join(self.root, name)) for name in names)
        return [self.of(vm) for vm in vms if vm.entries or vm.unread]


def newest_by_uuid(found: Iterable[Protection]) -> dict[str, Protection]:
    """By instance uuid in lower case: of several repositories the one with the newest good point."""
    best: dict[str, Protection] = {}
    for one in found:
        _keep(best, one.instance_uuid.lower(), one)
    return best


def _of_one(job: BackupJob, places: Iterable[_Place]) -> Mapping[str, Protection | None]:
    if len(job.named) != 1:
        return {}
    (named,) = job.named
    best: dict[str, Protection] = {}
    for place in places:
        meant = of_named(job.name, named.vm, place.called(named.vm))
        # It may be called otherwise now than when its directory was made.
        meant = meant or of_named(job.name, named.vm, list(place.all()))
        if meant is not None:
            _keep(best, "", meant)
    return {"": best.get("")}


def of_named(job: str, wanted: str, found: Sequence[Protection]) -> Protection | None:
    """The VM that the job backed up last under that name, else the one that is called so."""
    meant = [one for one in found if is_meant(one, wanted) or one.instance_uuid.lower() == wanted.lower()]
    own = [one for one in meant if one.job == job]
    return max(own or meant, key=lambda one: one.when_published, default=None)


def _keep(best: dict[str, Protection], key: str, one: Protection) -> None:
    """The one whose newest good point is newest."""
    if key not in best or one.when_good > best[key].when_good:
        best[key] = one
