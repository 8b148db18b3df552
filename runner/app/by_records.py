"""Jobs as their records tell of them, whether their files are still there or not: the children of a set, and
all that keep records where a site says.

What an unfinished run holds is released by the job as that run worked on it, which lies beside its record.
Logins may have changed since: an entry or host of the site that is the same one is taken instead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runner.app.options import Options, Placed, state_directory
from runner.app.workspace import Workspace, open_workspace
from runner.base.digest import Identities
from runner.base.errors import StateError, UsageError
from runner.base.model import HOST, marks_of
from runner.engine.checkpoint import RunRecord
from runner.engine.job_state import JobState
from runner.engine.place_records import JobRecords, all_records
from runner.engine.world import host_identity, host_spec
from runner.events.events import Event
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.state_place import StatePlace
from runner.job.children import child
from runner.job.model import LOCAL, Job
from runner.job.selection import variable_of
from runner.step.items import Item
from runner.step.section import Section


@dataclass(frozen=True)
class Remembered:
    """One job that has records somewhere."""

    host: Host
    records: JobRecords

    @property
    def name(self) -> str:
        newest = self.records.newest
        return newest.job if newest is not None else self.records.directory

    @property
    def item_name(self) -> str:
        """Of a child of a set."""
        newest = self.records.newest
        return "" if newest is None else newest.item_name

    def unfinished_job(self, workspace: Workspace, record: RunRecord) -> Job:
        """The job as that run worked on it, with the site's own entries and hosts where they are the same.
        Raises StateError, UsageError."""
        written = JobState.at(self.host, self.records.directory).open(record.id).job()
        if written is None and workspace.job.select is not None and record.set == workspace.job.name:
            return child(
                workspace.job, Item(record.item, record.item_name, "")
            )  # it was killed before it began
        if written is None:
            raise StateError(
                f"run {record.id} of {record.job} was begun by a version of sendense that did not keep its "
                f"job: sweep {record.job_file}"
            )
        job = _as_in(workspace.job, written.read(workspace.registry))
        if not self.host.local:
            _refuse_foreign_logins(workspace.job, job, record)
        return job


@contextmanager
def open_site(
    site: Job, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]]
) -> Iterator[tuple[Workspace, list[tuple[Host, StatePlace]]]]:
    """`site`: a job, or a part that jobs include. With all places where jobs that include it may keep
    records: where it says, with its entries, and on this machine where it does not say. Raises what keeps one
    from being looked at."""
    with open_workspace(site, options, stop, listeners) as workspace:
        found: dict[tuple[str, str], tuple[Host, StatePlace]] = {}
        if site.state_place is None or options.state is not None:
            own = StatePlace(LOCAL, str(state_directory(options)))
            found[LOCAL, own.path] = (LocalHost(LOCAL), own)
        named = [site.state_place] if site.state_place is not None else []
        entries = (entry for section in site.sections.values() for entry in section.values())
        for place in (*named, *filter(None, (entry.state_place() for entry in entries))):
            host = workspace.world.reached(place.host)
            identity = host_identity(host_spec(site, place.host))
            found.setdefault((identity, place.path), (host, place))
        yield workspace, list(found.values())


def remembered(places: Sequence[tuple[Host, StatePlace]]) -> list[Remembered]:
    """By one request a place."""
    return [
        Remembered(host, records) for host, place in places for records in all_records(host, place).values()
    ]


def options_of(job: Job, options: Options) -> Options:
    """For work on that job, as its records tell of it."""
    only = "" if job.child_of is None else job.child_of.item
    return replace(options, overrides={}, placed=Placed(only))


def require_same_place(one: Remembered, job: Job, options: Options) -> None:
    """Before anything is released: that job, opened, keeps its records where these were found. Raises
    StateError."""
    with open_workspace(job, options, threading.Event(), ()) as workspace:
        if workspace.state.directory != one.records.directory:
            raise StateError(
                f"{one.name} says of itself that its records are in {workspace.state.directory}, and these "
                f"were found in {one.records.directory}: sweep it by its job file"
            )


def child_records(workspace: Workspace) -> dict[str, Remembered]:
    """Of the children of the set, by their items; by one request."""
    host, found = workspace.state.host, {}
    for records in all_records(host, workspace.place).values():
        known = [record for record in records.runs.known if record.set == workspace.job.name]
        if known:
            found[known[-1].item] = Remembered(host, records)
    return found


def has_same_source(job: Job, other: Job) -> bool:
    """Whether the item of `other`, the child of a set that is called as the set `job`, was listed by the
    entry that `job` selects from: two files may call their sets the same, and one may select from another
    entry now."""
    assert job.select is not None, "only a set has children"
    section, variable = job.select.section, variable_of(job.select.section)
    theirs = other.sections.get(section, {}).get(str(other.vars.get(variable)))
    mine = job.sections[section][job.select.entry]
    return theirs is not None and _identities(other).of(theirs) == _identities(job).of(mine)


def is_of_site(site: Job, job: Job) -> bool:
    """Whether the job works with anything of the site. Records on this machine may be of jobs of others."""
    theirs = [_identities(site).of(entry) for entries in site.sections.values() for entry in entries.values()]
    mine = [_identities(job).of(entry) for entries in job.sections.values() for entry in entries.values()]
    return any(entry in theirs for entry in mine)


def _as_in(site: Job, job: Job) -> Job:
    """Of hosts and entries that are the same, the site's: how one logs in there is no matter of the past."""
    known = {host_identity(spec): spec for spec in site.hosts.values() if spec != LOCAL}
    hosts = {name: known.get(host_identity(spec), spec) for name, spec in job.hosts.items()}
    sections = {
        section: {name: _entry(site, job, section, entry) for name, entry in entries.items()}
        for section, entries in job.sections.items()
    }
    return replace(job, hosts=hosts, sections=sections)


def _refuse_foreign_logins(site: Job, job: Job, record: RunRecord) -> None:
    """Of a job that another machine remembers: what is written there must not choose to whom passwords of
    this one go, nor what is run to get them. Raises StateError."""
    known = {host_identity(spec) for spec in site.hosts.values()}
    foreign = [f"hosts.{name}" for name, spec in job.hosts.items() if host_identity(spec) not in known]
    for section, entries in job.sections.items():
        theirs = [_identities(site).of(entry) for entry in site.sections.get(section, {}).values()]
        mine = _identities(job)
        foreign += [f"{section}.{name}" for name, entry in entries.items() if mine.of(entry) not in theirs]
    if foreign:
        raise StateError(
            f"run {record.id} of {record.job} worked with {', '.join(foreign)}, which {site.file} does not "
            f"have: write that there, or sweep {record.job_file}"
        )


def _entry(site: Job, job: Job, section: str, entry: Section) -> Section:
    mine = _identities(job).of(entry)
    theirs = _identities(site)
    for other in site.sections.get(section, {}).values():
        if theirs.of(other) == mine:
            # Hosts have the names there that the job gave them.
            names = {
                field: getattr(entry, field)
                for field in type(entry).model_fields
                if HOST in marks_of(type(entry), field)
            }
            return other.model_copy(update=names)
    return entry


def _identities(job: Job) -> Identities:
    def section(kind: str, name: str) -> Section:
        entries: Mapping[str, Section] = job.sections.get(kind, {})
        if name not in entries:
            raise UsageError(f"there is no {kind} entry '{name}'")
        return entries[name]

    return Identities(lambda name: host_identity(host_spec(job, name)), section)


def file_of(record: RunRecord) -> str:
    """For people: the job file, and that it is gone if it is."""
    path = Path(record.job_file)
    gone = path.is_absolute() and not path.exists()
    return f"{record.job_file} (it is gone)" if gone else record.job_file
