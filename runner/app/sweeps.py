"""Sweeps of many jobs: the children of a set, and all whose records a site keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.app.by_records import (
    Remembered,
    child_records,
    is_of_site,
    open_site,
    options_of,
    remembered,
    require_same_place,
)
from runner.app.gone import child_of
from runner.app.options import Options
from runner.app.sweep import JobSwept, abandon_run, sweep_job
from runner.app.workspace import open_workspace
from runner.base.errors import SendenseError, UsageError
from runner.base.waiting import heeding
from runner.engine.checkpoint import RunRecord
from runner.events.events import Event
from runner.job.model import Job
from runner.step.items import Item

Listeners = Sequence[Callable[[Event], None]]


@dataclass(frozen=True)
class SweptOne:
    """One job of many. `error`: what kept it from being swept, or from being swept whole."""

    name: str
    file: str
    swept: JobSwept | None
    error: SendenseError | None = None


def sweep_set(
    job: Job,
    options: Options,
    only: Sequence[str],
    listeners: Listeners,
    *,
    dry_run: bool,
    stop: threading.Event,
) -> Iterator[SweptOne]:
    """Each child with an unfinished run. Raises what keeps the records from being read."""
    for name, one in _children(job, options, only, stop):
        child, mine = child_of(job, one, options)
        try:
            yield SweptOne(name, job.file, sweep_job(child, mine, listeners, dry_run=dry_run, stop=stop))
        except SendenseError as error:
            yield SweptOne(name, job.file, None, error)


def abandon_child(job: Job, run: str, options: Options, listeners: Listeners, stop: threading.Event) -> None:
    """Raises UsageError where no child of the set has that unfinished run, and as `abandon_run`."""
    with open_workspace(job, options, stop, listeners) as workspace:
        found = child_records(workspace, job.name)
    for item, records in found.items():
        if run in {record.id for record in records.unfinished}:
            child, mine = child_of(job, Item(item, item, ""), options)
            abandon_run(child, run, mine, listeners, stop=stop)
            return
    raise UsageError(f"no run of the set {job.name} that is unfinished has the id {run}")


def sweep_site(
    site: Job, options: Options, listeners: Listeners, *, dry_run: bool, stop: threading.Event
) -> Iterator[SweptOne]:
    """Each unfinished run whose records are where the site keeps such, by the job that it worked on. Raises
    what keeps a place from being looked at."""
    with open_site(site, options, stop, listeners) as (workspace, places):
        for one, record in heeding(stop, _unfinished(remembered(places))):
            try:
                job = one.unfinished_job(workspace, record)
                if site.state_place is None and one.host.local and not is_of_site(site, job):
                    continue
                mine = options_of(job, options)
                require_same_place(one, job, mine)
                swept = sweep_job(job, mine, listeners, dry_run=dry_run, stop=stop, run=record.id)
                yield SweptOne(one.name, record.job_file, swept)
            except SendenseError as error:
                yield SweptOne(one.name, record.job_file, None, error)


def abandon_at_site(
    site: Job, run: str, options: Options, listeners: Listeners, stop: threading.Event
) -> None:
    """Raises UsageError where no job has that unfinished run, and as `abandon_run`."""
    with open_site(site, options, stop, listeners) as (workspace, places):
        for one, record in _unfinished(remembered(places)):
            if record.id == run:
                job = one.unfinished_job(workspace, record)
                require_same_place(one, job, options_of(job, options))
                abandon_run(job, run, options_of(job, options), listeners, stop=stop)
                return
    raise UsageError(f"no unfinished run that {site.file} keeps records of has the id {run}")


def _unfinished(found: Sequence[Remembered]) -> Iterator[tuple[Remembered, RunRecord]]:
    for one in found:
        for record in one.records.unfinished:
            yield one, record


def _children(
    job: Job, options: Options, only: Sequence[str], stop: threading.Event
) -> list[tuple[str, Item]]:
    """Those with an unfinished run, by name. `only`: ids, or names as their last run had them. Raises
    UsageError for one of these that names none."""
    with open_workspace(job, options, stop, ()) as workspace:
        found = child_records(workspace, job.name)
    named, used = [], set[str]()
    for item, records in found.items():
        newest = records.newest
        name = item if newest is None else newest.job.rpartition("/")[2].removesuffix(f"-{item}")
        by = {text for text in only if text in (item, name)}
        used |= by
        if records.unfinished and (by or not only):
            named.append((name, Item(item, name, "")))
    if unknown := [text for text in only if text not in used]:
        raise UsageError(f"--only {unknown[0]}: no child of the set {job.name} with records is called so")
    return sorted(named, key=lambda each: each[0])
