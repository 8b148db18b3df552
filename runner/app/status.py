"""The status of a job: its runs, who works on it, and what those that do not live still hold. Changes
nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.app.earlier_runs import of_unread
from runner.app.options import EVENTS, Options
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import SendenseError, StateError
from runner.engine.checkpoint import NodeRecord, RunRecord
from runner.engine.recorded import Hold
from runner.events.fold import fold
from runner.events.journal import read_events
from runner.events.summary import RunSummary
from runner.hosts.stray_processes import look
from runner.job.model import Job


@dataclass(frozen=True)
class Status:
    """`runs` are those remembered, oldest first; `holder` says who works on the job now; `last` is how far
    the newest run came, None where this machine has no events of it."""

    job: str
    runs: tuple[RunRecord, ...]
    holder: str | None
    last: RunSummary | None
    held: Mapping[str, tuple[Hold, ...]]
    """By the id of an unfinished run: what it holds."""
    died: str | None = None
    """The id of the run whose process ended without giving the job's lock back: it was killed, or its machine
    was."""
    recorded: tuple[NodeRecord, ...] = ()
    """Of an unfinished run without events here: what the records tell of its nodes, in the order in which
    they acted."""
    unread: tuple[str, ...] = ()
    """Runs that are not among `runs`, since their records cannot be read."""
    unseen: tuple[str, ...] = ()
    """Why something could not be looked at."""
    place: str = ""
    """Where runs of the job are remembered."""

    @property
    def running(self) -> str | None:
        """The id of the run that is running now."""
        return self.runs[-1].id if self.runs and self.holder and self.runs[-1].id in self.holder else None


def status_of(job: Path | Job, options: Options) -> Status:
    """Raises JobFileError, HostError, StateError where none of what there is can be read."""
    with open_workspace(job, options, threading.Event(), ()) as workspace:
        workspace.state.require_place()
        found, holder = workspace.state.runs(), workspace.state.holder()
        runs, unread = found.known, of_unread(workspace, found)
        if unread and not runs:
            raise StateError("; ".join(unread))
        unseen: list[str] = []
        last = None if not runs else _last(workspace, runs[-1].id, unseen)
        recorded: list[NodeRecord] = []
        if last is None and runs and runs[-1].is_unfinished:
            recorded = sorted(
                workspace.state.open(runs[-1].id).nodes().values(), key=lambda record: record.sequence
            )
        unfinished = [record for record in runs if record.is_unfinished]
        held = {record.id: _held(workspace, record) for record in unfinished}
        if held and holder is None:
            _add_processes(workspace, held, unseen)
        died = None if holder is not None else workspace.state.left_by()
        return Status(
            job=workspace.job.name,
            runs=runs,
            holder=holder,
            last=last,
            held=held,
            died=died if died in held else None,
            recorded=tuple(recorded),
            unread=tuple(unread),
            unseen=tuple(unseen),
            place=f"{workspace.state.directory} on {workspace.state.host.name}",
        )


def _last(workspace: Workspace, run: str, unseen: list[str]) -> RunSummary | None:
    events = workspace.directory(run) / EVENTS
    if not events.exists():
        return None
    try:
        return fold(read_events(events), workspace.registry.report)
    except StateError as error:
        unseen.append(error.message)
        return None


def _held(workspace: Workspace, record: RunRecord) -> tuple[Hold, ...]:
    workspace.run(record)
    recorded = workspace.recorded(record)
    return recorded.held(work_done=workspace.is_out(record, recorded))


def _add_processes(workspace: Workspace, held: dict[str, tuple[Hold, ...]], unseen: list[str]) -> None:
    """What a run that does not live left on the job's hosts, which its next execution or a sweep ends."""
    told: set[object] = set()  # two names may be of one machine
    for name in workspace.job.hosts:
        try:
            found = look(workspace.world.reached(name))
        except SendenseError as error:
            unseen.append(error.message)
            continue
        for process in found.processes:
            if process.run in held and process.process not in told:
                told.add(process.process)
                what = f"process {process.process.pid} on {name}"
                held[process.run] += (Hold(name, what, process.since),)
