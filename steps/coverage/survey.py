"""Looks at all vCenters and repositories that a site and jobs name: each once, whatever the number of jobs
and VMs. What cannot be read is told, and never taken for absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import counted
from runner.events.events import Event
from runner.hosts.connect import OpenHosts
from runner.job.model import Job
from runner.step.items import Census, Item, Where
from steps.coverage.copied import Copied
from steps.coverage.jobs import VCENTERS, BackupJob
from steps.coverage.judgement import Seen, Taking, VCenterSeen
from steps.coverage.meaning import Names
from steps.coverage.protection import Protections
from steps.coverage.reading import Read
from steps.coverage.repositories import Contexts, Repositories


@dataclass(frozen=True)
class _Place:
    """One entry of a section, as the first job has it: others may call it something else."""

    name: str
    entry: Any
    job: Job


class Survey:
    """Use as a context manager: what it opens ends with it.

    `reads` are versions of the job files. Only what the first of them names is asked: a branch that is to be
    merged could name a server of its own, and would be handed the password."""

    def __init__(
        self,
        reads: Sequence[Read],
        listener: Callable[[Event], None],
        hosts: OpenHosts | None = None,
    ) -> None:
        self._reads = reads
        self._contexts = Contexts(listener, hosts)
        self._repositories = Repositories(_jobs(reads[0]))
        self._vcenters: dict[object, _Place] = {}
        for job in _jobs(reads[0]):
            for name, entry in job.sections.get(VCENTERS, {}).items():
                self._vcenters.setdefault(entry, _Place(name, entry, job))
        self._unread: list[str] = []
        self._censuses: dict[object, Census] = {}
        """Of each vCenter that could be read, by its entry."""
        self._protections = Protections()
        self._names: dict[str, Names] = {}

    def __enter__(self) -> Survey:
        with ExitStack() as stack:
            stack.enter_context(self._contexts)
            self._protections = self._repositories.read(self._contexts)
            self._unread += [f"repository {name}: {why}" for name, why in self._protections.unread.items()]
            self._censuses = self._read_vcenters()
            stack.pop_all()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._contexts.__exit__(*failure)

    def seen(self, read: Read) -> Seen:
        """By one of the versions."""
        vcenters: dict[str, VCenterSeen] = {}
        for key, census in self._censuses.items():
            vcenters.setdefault(census.key, VCenterSeen(self._vcenters[key].name, census))
        unread, notes = [*self._unread, *read.unread, *self._not_asked(read)], []
        if read.others:
            notes.append(f"makes and copies no restore points, so it covers none: {', '.join(read.others)}")
        for job in read.jobs:
            if job.unclear:
                notes.append(f"which VM {job.name} backs up, its file {job.job.file} does not say")
            taking = self._taking(job, read.site)
            for key, item in self._taken(job, vcenters, notes):
                vcenters[key].taken.setdefault(item.id, []).append(taking)
        return Seen(
            tuple(vcenters.values()),
            self._protections,
            unread=tuple(dict.fromkeys(unread)),
            vcenters_unread=len(self._censuses) < len(self._vcenters),
            jobs_unread=bool(read.unread),
            notes=tuple(dict.fromkeys(notes)),
            copied=tuple(self._copied(read)),
        )

    def _copied(self, read: Read) -> Iterator[Copied]:
        for one in read.copies:
            rpo = one.job.rpo if one.job.rpo is not None else read.site.rpo
            source, to = (self._repositories.called(one.job, name) for name in (one.source, one.to))
            if source is not None and to is not None:
                yield Copied(one.job.name, rpo, source, to, one.vms)

    def _read_vcenters(self) -> dict[object, Census]:
        found: dict[object, Census] = {}
        for key, place in self._vcenters.items():
            wheres = tuple(where for read in self._reads for where in _wheres(read, key, place.name))
            try:
                found[key] = place.entry.census(self._contexts.of(place.job), place.name, wheres)
            except Interrupted:
                raise
            except SendenseError as error:
                self._unread.append(f"vCenter {place.name}: {error.message}")
        return found

    def _not_asked(self, read: Read) -> Iterator[str]:
        for job in _jobs(read):
            for name, entry in job.sections.get(VCENTERS, {}).items():
                if entry not in self._vcenters:
                    yield (
                        f"vCenter {name} is new, or changed in these files, and is not asked before they are "
                        "merged: what jobs take of it is unknown"
                    )

    def _taken(
        self, one: BackupJob, vcenters: dict[str, VCenterSeen], notes: list[str]
    ) -> Iterator[tuple[str, Item]]:
        """Which VMs the job takes, of the census with that key; adds to `notes`, and what is unsure."""
        if (select := one.job.select) is not None:
            census = self._censuses.get(one.job.sections[select.section][select.entry])
            if census is not None:
                items = census.select(select.where)
                notes += [f"{one.name}: {rule}: {why}" for rule, why in items.unfit.items()]
                if len(items.chosen) < select.at_least:
                    few = f"selects {counted(len(items.chosen), 'VM')}, fewer than its at-least"
                    notes.append(f"{one.name} {few}: {select.at_least}, so it does not run")
                for left in items.unread:
                    vcenters[census.key].unsure[left.item.id] = f"whether {one.name} takes it: {left.why}"
                yield from ((census.key, item) for item in items.chosen)
        for named in one.named:
            census = self._censuses.get(one.job.sections[VCENTERS].get(named.vcenter))
            if census is None:
                continue
            meant = self._names_of(named.vcenter, census).meant(one.name, named.vm)
            if meant.item is None:
                notes.append(f"{one.name}: {meant.why_not}")
            else:
                yield census.key, meant.item

    def _names_of(self, vcenter: str, census: Census) -> Names:
        if census.key not in self._names:
            own = [one for one in self._protections.all if one.is_of(census.key, one.instance_uuid)]
            self._names[census.key] = Names(vcenter, census, own)
        return self._names[census.key]

    def _taking(self, one: BackupJob, site: Job) -> Taking:
        places = (self._repositories.called(one.job, name) for name in one.repositories)
        rpo = one.job.rpo if one.job.rpo is not None else site.rpo
        copies = ((rule, self._repositories.called(one.job, rule.to)) for rule in one.copies)
        return Taking(
            one.name,
            rpo,
            tuple(place for place in places if place is not None),
            tuple((rule, place) for rule, place in copies if place is not None),
        )


def _jobs(read: Read) -> Iterator[Job]:
    yield read.site
    yield from read.all_jobs


def _wheres(read: Read, key: object, name: str) -> Iterator[Where]:
    """All that is asked of the census of one vCenter."""
    for one in read.jobs:
        select = one.job.select
        if select is not None and one.job.sections[select.section][select.entry] == key:
            yield select.where
    yield from (one.where for one in read.site.unprotected if one.entry == name)
