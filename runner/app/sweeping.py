"""What unfinished runs may hold no longer is let go of, and what runs left that nobody remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runner.app.earlier_runs import EARLIER, of_foreign, of_unread, what_releases
from runner.app.lost import lost
from runner.app.release import foreign
from runner.app.workspace import Options, Workspace, nothing_is_usage, open_workspace
from runner.base.errors import LockedError, SendenseError, StateError
from runner.engine.checkpoint import RunRecord, now
from runner.engine.teardown import Hold
from runner.events.events import Event, Warned
from runner.hosts.stray_processes import end, look

SWEEP = "sweep"
"""Who holds the job's lock meanwhile, in place of a run's id."""


@dataclass(frozen=True)
class Swept:
    """Sentences: what was let go of (in a dry run: would be), and what stays, with the reason."""

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
    path: Path, options: Options, listeners: Sequence[Callable[[Event], None]] = (), *, dry_run: bool = False
) -> JobSwept:
    """Releases what unfinished runs may hold no longer, and what dead ones left on the job's hosts. A run
    that is alive has the lock: LockedError. A dry run takes no lock and changes nothing."""
    with (
        open_workspace(path, options, threading.Event(), listeners) as workspace,
        nullcontext() if dry_run else workspace.lock(SWEEP),
        nullcontext() if dry_run else nothing_is_usage(),
    ):
        if dry_run and (holder := workspace.state.holder()) is not None:
            raise LockedError(f"the job {workspace.job.name}", holder)
        released: list[str] = []
        holding: dict[str, tuple[Hold, ...]] = {}
        if dry_run:
            workspace.state.require_place()
        runs = workspace.state.runs()
        unknown = [one.run for one in runs.unread if one.unfinished is not False]
        for text in of_unread(workspace, runs):
            workspace.bus.emit(Warned(node=EARLIER, text=text))
        for record in runs.known:
            if not record.is_unfinished:
                continue
            try:
                why = foreign(workspace, record)
            except StateError as error:
                workspace.bus.emit(Warned(node=EARLIER, text=what_releases(workspace, record, error).message))
                unknown.append(record.id)
                continue
            if why:
                workspace.bus.emit(Warned(node=EARLIER, text=of_foreign(workspace, record.id, why)))
                unknown.append(record.id)
                continue
            what, holds = _would_sweep(workspace, record) if dry_run else _sweep(workspace, record)
            released += [f"{record.id}: {each}" for each in what]
            if holds is not None:
                holding[record.id] = holds
        # Last: a hub that cannot be reached must not keep a snapshot that is due.
        released += _leftovers(workspace, dry_run=dry_run)
        return JobSwept(tuple(released), holding, tuple(unknown))


def _sweep(workspace: Workspace, record: RunRecord) -> tuple[list[str], tuple[Hold, ...] | None]:
    """What was let go of, and what is held now; None once the run is finished by that."""
    workspace.run(record)
    state = workspace.state.open(record.id)
    unwinding = workspace.unwinding(state)
    unwinding.settle()
    is_out = workspace.is_out(record, unwinding)
    unwound = unwinding.release(succeeded=is_out)
    unwound.raise_failures()
    if record.phase == "unwinding":
        state.save(record.model_copy(update={"phase": "finished", "ended": now()}))
        return unwound.released, None
    return unwound.released, unwinding.held(work_done=is_out)


def _would_sweep(workspace: Workspace, record: RunRecord) -> tuple[list[str], tuple[Hold, ...] | None]:
    workspace.run(record)
    unwinding = workspace.unwinding(workspace.state.open(record.id))
    is_out = workspace.is_out(record, unwinding)
    found = unwinding.would_release(succeeded=is_out)
    found.raise_failures()
    if record.phase == "unwinding":
        return found.released, None
    return found.released, unwinding.held(work_done=is_out)


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


def sweep_orphans(path: Path, options: Options, *, dry_run: bool = False) -> Swept:
    """Lets go of what runs whose records are lost left in the job's vCenters and on its hosts, see
    `steps.sections.orphans`. Raises LockedError while a run of the job is alive."""
    with (
        open_workspace(path, options, threading.Event(), ()) as workspace,
        nullcontext() if dry_run else workspace.lock(SWEEP),
        nullcontext() if dry_run else nothing_is_usage(),
    ):
        released, stays = [], []
        for orphan in lost(workspace):
            why = orphan.stays
            if why is None and orphan.copied:
                command = f"{options.command('sweep', workspace.job.file)} --abandon {orphan.run}"
                why = (
                    "it holds what a run copied that no known run goes on with; let go of it with "
                    f"`{command}`"
                )
            if why is not None:
                stays.append(f"{orphan.what}: {why}")
                continue
            try:
                if not dry_run:
                    orphan.let_go()
            except SendenseError as error:
                stays.append(f"{orphan.what}: {error}")
            else:
                released.append(orphan.what)
        return Swept(tuple(released), tuple(stays))
