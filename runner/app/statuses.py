"""The status of many jobs, from their records: the children of a set, and all that keep records where a site
says. One request a place, whatever their number."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.app.by_records import Remembered, open_site, remembered
from runner.app.options import Options
from runner.app.workspace import open_workspace
from runner.engine.checkpoint import RunRecord
from runner.engine.place_records import JobRecords, all_records
from runner.hosts.host import Host
from runner.job.model import Job
from runner.sets.set_record import Chosen, SetRecord, read_set


@dataclass(frozen=True)
class OneStatus:
    """Of one job, as its records tell. `holder`: who works on it now."""

    name: str
    newest: RunRecord | None
    unfinished: tuple[RunRecord, ...] = ()
    holder: str | None = None
    unread: tuple[str, ...] = ()
    """Sentences on records that cannot be read."""
    item: str = ""
    """Of a child, its item's id."""
    last: Chosen | None = None
    """Of a child, what its set remembers of it."""
    file: str = ""


@dataclass(frozen=True)
class SetStatus:
    """`record`: of its last execution; None where it never ran."""

    name: str
    record: SetRecord | None
    holder: str | None
    children: tuple[OneStatus, ...]
    place: str = ""


@dataclass(frozen=True)
class SiteStatus:
    jobs: tuple[OneStatus, ...]
    """Those that are no sets."""
    sets: tuple[SetStatus, ...]


def status_of_set(job: Job, options: Options) -> SetStatus:
    """Raises SendenseError where its records cannot be read."""
    with open_workspace(job, options, threading.Event(), ()) as workspace:
        host, directory = workspace.state.host, workspace.state.directory
        found = all_records(host, workspace.place)
        own = next((one for one in found.values() if one.directory == directory), None)
        children = {one.runs.known[-1].item: one for one in found.values() if _set_of(one) == job.name}
        place = f"{directory} on {host.name}"
        return _of_set(job.name, host, own, children, place)


def status_of_site(site: Job, options: Options) -> SiteStatus:
    """Raises SendenseError where a place cannot be looked at."""
    with open_site(site, options, threading.Event(), ()) as (_, places):
        found = remembered(places)
        sets = {one.records.directory: one for one in found if one.records.set is not None}
        children: dict[str, dict[str, Remembered]] = {}
        jobs = []
        for one in found:
            if (name := _set_of(one.records)) is not None:
                children.setdefault(name, {})[one.records.runs.known[-1].item] = one
            elif one.records.set is None and (one.records.runs.known or one.records.runs.unread):
                jobs.append(_of(one.name, one.host, one.records))
        told = []
        for one in sets.values():
            record = read_set(one.records.set or b"", one.records.directory)
            mine = children.pop(record.set, {})
            told.append(
                _of_set(
                    record.set,
                    one.host,
                    one.records,
                    {key: each.records for key, each in mine.items()},
                    one.records.directory,
                )
            )
        # Of a set whose own record is gone.
        for name, mine in children.items():
            host = next(iter(mine.values())).host
            told.append(_of_set(name, host, None, {key: each.records for key, each in mine.items()}, ""))
        jobs.sort(key=lambda one: one.name)
        return SiteStatus(tuple(jobs), tuple(sorted(told, key=lambda one: one.name)))


def _set_of(records: JobRecords) -> str | None:
    """Whose child it is."""
    return (records.runs.known[-1].set or None) if records.runs.known else None


def _of_set(
    name: str, host: Host, own: JobRecords | None, children: Mapping[str, JobRecords], place: str
) -> SetStatus:
    record = None if own is None or own.set is None else read_set(own.set, own.directory)
    items: Sequence[Chosen] = () if record is None else record.items
    known = {item.id for item in items}
    told = [_child(item.name, item.id, host, children.get(item.id), item) for item in items]
    for item, records in children.items():
        # Items that the set chose once: of interest while a run of theirs is unfinished.
        if item not in known and records.unfinished:
            newest = records.newest
            called = item if newest is None else newest.item_name
            told.append(_child(called, item, host, records, None))
    holder = None if own is None else own.holder(host)
    return SetStatus(name, record, holder, tuple(told), place)


def _child(name: str, item: str, host: Host, records: JobRecords | None, last: Chosen | None) -> OneStatus:
    if records is None:
        return OneStatus(name, None, item=item, last=last)
    return _of(name, host, records, item, last)


def _of(name: str, host: Host, records: JobRecords, item: str = "", last: Chosen | None = None) -> OneStatus:
    unread = tuple(one.sentence for one in records.runs.unread)
    newest = records.newest
    return OneStatus(
        name,
        newest,
        records.unfinished,
        records.holder(host),
        unread,
        item,
        last,
        "" if newest is None else newest.job_file,
    )
