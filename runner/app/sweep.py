"""`sendense sweep`: releases what unfinished runs may hold no longer, what dead ones left on the job's hosts,
what no records tell of, or all that one run holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runner.app.earlier_runs import EARLIER, of_foreign, of_unread, what_releases
from runner.app.options import Options
from runner.app.release import abandon, abandon_unread, foreign, orphans, release_all
from runner.app.workspace import Workspace, nothing_is_usage, open_workspace
from runner.base.errors import Interrupted, LockedError, SendenseError, StateError, UsageError
from runner.base.waiting import NEVER, heeding
from runner.engine.checkpoint import RunRecord, now
from runner.engine.recorded import Hold
from runner.events.events import Event, Warned
from runner.hosts.stray_processes import end, look
from runner.job.model import Job
from runner.step.section import Orphan

SWEEP = "sweep"
"""Who holds the job's lock meanwhile, in place of a run's id."""


@dataclass(frozen=True)
class Swept:
    """Sentences: what was released (in a dry run: would be), and what stays, with the reason."""

    released: tuple[str, ...]
    stays: tuple[str, ...]


class JobSwept(NamedTuple):
    """`released`: sentences. `holding`: of each run that stays unfinished what it holds. `unknown`: ids of
    runs that may be unfinished and whose records this program cannot read, so that it is not known what they
    hold; each was warned of."""

    released: tuple[str, ...]
    holding: dict[str, tuple[Hold, ...]]
    unknown: tuple[str, ...]


def sweep_job(
    path: Path | Job,
    options: Options,
    listeners: Sequence[Callable[[Event], None]] = (),
    *,
    dry_run: bool = False,
    stop: threading.Event = NEVER,
    over: str | None = None,
    run: str | None = None,
) -> JobSwept:
    """Releases what unfinished runs may hold no longer, and what dead ones left on the job's hosts. A run
    that is alive has the lock: LockedError. A dry run takes no lock and changes nothing. Raises Interrupted
    once `stop` is set: what is being released ends in order, the rest is left. `over`: why unfinished runs
    hold nothing any longer, whatever their `hold`. `run`: no other one is looked at."""
    with _open(path, options, listeners, dry_run=dry_run, stop=stop) as workspace:
        if dry_run and (holder := workspace.state.holder()) is not None:
            raise LockedError(f"the job {workspace.job.name}", holder)
        if dry_run:
            workspace.state.require_place()
        released: list[str] = []
        holding: dict[str, tuple[Hold, ...]] = {}
        runs = workspace.state.runs()
        unknown = [one.run for one in runs.unread if one.unfinished is not False]
        for text in of_unread(workspace, runs):
            workspace.bus.emit(Warned(node=EARLIER, text=text))
        for record in heeding(stop, runs.known):
            if not record.is_unfinished or run not in (None, record.id):
                continue
            if why := _why_unknown(workspace, record):
                workspace.bus.emit(Warned(node=EARLIER, text=why))
                unknown.append(record.id)
                continue
            what, holds = _would_sweep(workspace, record) if dry_run else _sweep(workspace, record, over)
            released += [f"{record.id}: {each}" for each in what]
            if holds is not None:
                holding[record.id] = holds
        # Last: a repository host that cannot be reached must not keep a snapshot that is due.
        released += _leftovers(workspace, dry_run=dry_run)
        return JobSwept(tuple(released), holding, tuple(unknown))


def sweep_orphans(
    path: Path | Job, options: Options, *, dry_run: bool = False, stop: threading.Event = NEVER
) -> Swept:
    """Releases what runs whose records are lost left, as the job's sections find it; once `stop` is set, no
    more of it. Raises LockedError while a run of the job is alive."""
    released: list[str] = []
    stays: list[str] = []
    # Interrupted: what was released before a stop is told all the same, by nothing else than the answer.
    with _open(path, options, (), dry_run=dry_run, stop=stop) as workspace, suppress(Interrupted):
        for orphan in heeding(stop, orphans(workspace)):
            if (why := _why_it_stays(workspace, orphan)) is not None:
                stays.append(f"{orphan.what}: {why}")
                continue
            try:
                if not dry_run:
                    orphan.release()
            except SendenseError as error:
                stays.append(f"{orphan.what}: {error}")
            else:
                released.append(orphan.what)
    return Swept(tuple(released), tuple(stays))


def abandon_run(
    path: Path | Job,
    run_id: str,
    options: Options,
    listeners: Sequence[Callable[[Event], None]] = (),
    *,
    stop: threading.Event = NEVER,
) -> None:
    """Releases everything the unfinished run `run_id` holds; of one that nobody can resume, what is found.
    Raises UsageError if there is no such run, and Interrupted as `sweep_job`."""
    with (
        open_workspace(path, options, stop, listeners) as workspace,
        workspace.lock(run_id),
        _interrupted_by(stop),
    ):
        runs = workspace.state.runs()
        known = [record for record in runs.known if record.id == run_id and record.is_unfinished]
        unread = [one for one in runs.unread if one.run == run_id and one.unfinished is not False]
        # Of a run that is not one of this job's, those that have its records may resume it.
        left = [] if known or unread else [orphan for orphan in orphans(workspace) if orphan.run == run_id]
        if not known and not unread and not left:
            whose = f"the job {workspace.job.name}" if workspace.job.name else workspace.job.file
            raise UsageError(f"{whose} has no unfinished run {run_id}, and nothing is left of one")
        with nothing_is_usage():
            for record in known:
                abandon(workspace, record)
            for one in unread:
                abandon_unread(workspace, one)
            release_all(heeding(stop, left))


@contextmanager
def _open(
    path: Path | Job,
    options: Options,
    listeners: Sequence[Callable[[Event], None]],
    *,
    dry_run: bool,
    stop: threading.Event,
) -> Iterator[Workspace]:
    """With the job's lock, but for a dry run, which changes nothing."""
    with open_workspace(path, options, stop, listeners) as workspace:
        if dry_run:
            yield workspace
        else:
            with workspace.lock(SWEEP), nothing_is_usage(), _interrupted_by(stop):
                yield workspace


@contextmanager
def _interrupted_by(stop: threading.Event) -> Iterator[None]:
    """What fails once `stop` is set was stopped; the failure itself was told as it happened."""
    try:
        yield
    except SendenseError as error:
        if not stop.is_set():
            raise
        raise Interrupted(
            "interrupted; what is not released yet is left: run the same command again"
        ) from error


def _why_unknown(workspace: Workspace, record: RunRecord) -> str | None:
    """Why this program cannot tell what the run holds; None where it can."""
    try:
        why = foreign(workspace, record)
    except StateError as error:
        return what_releases(workspace, record, error).message
    return of_foreign(workspace, record.id, why) if why else None


def _sweep(
    workspace: Workspace, record: RunRecord, over: str | None = None
) -> tuple[list[str], tuple[Hold, ...] | None]:
    """What was released, and what is still held; None if that finished the run."""
    workspace.run(record)
    recorded = workspace.recorded(record)
    recorded.settle()
    is_out = workspace.is_out(record, recorded)
    unwinding, stop = workspace.unwinding(recorded), workspace.world.stop
    unwound = unwinding.release(succeeded=is_out, until=stop, over=over)
    unwound.raise_failures()
    if record.phase == "unwinding":
        ended = record.model_copy(update={"phase": "finished", "ended": now()})
        recorded.state.save(ended)
        return unwound.released, None
    return unwound.released, recorded.held(work_done=is_out)


def _would_sweep(workspace: Workspace, record: RunRecord) -> tuple[list[str], tuple[Hold, ...] | None]:
    workspace.run(record)
    recorded = workspace.recorded(record)
    is_out = workspace.is_out(record, recorded)
    found = workspace.unwinding(recorded).would_release(succeeded=is_out)
    found.raise_failures()
    if record.phase == "unwinding":
        return found.released, None
    return found.released, recorded.held(work_done=is_out)


def _leftovers(workspace: Workspace, *, dry_run: bool) -> Iterator[str]:
    """Processes of this job's runs, none of which lives while we hold the lock, and their temporary
    directories."""
    ours = workspace.state.runs().ids
    told: set[object] = set()  # two names may be of one machine
    for host in map(workspace.world.host, workspace.job.hosts):
        found = look(host)
        dead = [
            one for one in found.processes if one.run in ours and one.execution != workspace.world.execution
        ]
        if not dry_run:
            end(host, (one.process for one in dead))
        for process in dead:
            if process.process not in told:
                yield f"{process.run}: process {process.process.pid} on {host.name}"
        directories = [one for one in found.directories if one.run in ours]
        for directory in directories:
            if not dry_run:
                host.remove(directory.path, recursive=True)
            if directory not in told:
                yield f"{directory.run}: temporary directory {directory.path} on {host.name}"
        told |= {*directories, *(one.process for one in dead)}


def _why_it_stays(workspace: Workspace, orphan: Orphan) -> str | None:
    if orphan.stays is not None or not orphan.copied:
        return orphan.stays
    command = f"{workspace.options.command('sweep', workspace.job.file)} --abandon {orphan.run}"
    return f"it has data that a run copied, and no known run resumes it; `{command}` deletes it"
