"""Sweeps of many jobs: the children of a set, and all whose records a site keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from runner.app.by_records import (
    Remembered,
    child_records,
    is_of_site,
    open_site,
    options_of,
    remembered,
    require_same_place,
)
from runner.app.options import Options, Placed
from runner.app.sweep import JobSwept, abandon_run, sweep_job
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import SendenseError, UsageError
from runner.base.slug import slug
from runner.base.waiting import heeding
from runner.engine.checkpoint import RunRecord
from runner.events.events import Event
from runner.job.model import Job

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
    with open_workspace(job, options, stop, listeners) as workspace:
        for one, record in heeding(stop, _unfinished(_children(workspace, only))):
            try:
                mine = replace(options, placed=Placed(record.item))
                begun = one.unfinished_job(workspace, record)
                swept = sweep_job(begun, mine, listeners, dry_run=dry_run, stop=stop, run=record.id)
                yield SweptOne(record.item_name, job.file, swept)
            except SendenseError as error:
                yield SweptOne(record.item_name, job.file, None, error)


def abandon_child(job: Job, run: str, options: Options, listeners: Listeners, stop: threading.Event) -> None:
    """Raises UsageError where no child of the set has that unfinished run, and as `abandon_run`."""
    with open_workspace(job, options, stop, listeners) as workspace:
        for one, record in _unfinished(list(child_records(workspace).values())):
            if record.id == run:
                begun = one.unfinished_job(workspace, record)
                abandon_run(begun, run, replace(options, placed=Placed(record.item)), listeners, stop=stop)
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


def _children(workspace: Workspace, only: Sequence[str]) -> list[Remembered]:
    """By name. `only`: ids, or names as their last run had them. Raises UsageError for one of these that
    names none."""
    found = child_records(workspace)
    chosen = {} if only else found
    for text in only:
        named = {item: one for item, one in found.items() if text == item or slug(text) == one.item_name}
        if not named:
            raise UsageError(
                f"--only {text}: no child of the set {workspace.job.name} with records is called so"
            )
        chosen |= named
    return sorted(chosen.values(), key=lambda one: one.item_name)
