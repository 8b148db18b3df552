"""An unfinished run is given up: everything it holds is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.app.lost import lost
from runner.app.records import new_record
from runner.app.workspace import Options, Workspace, nothing_is_usage, open_workspace
from runner.base.errors import SendenseError, StateError, UsageError
from runner.engine.checkpoint import ForeignStateError, RunRecord, now
from runner.engine.teardown import UnwindError
from runner.engine.unread import UnreadRun
from runner.events.events import Event
from steps.sections.orphans import Orphan


def abandon_run(
    path: Path, run_id: str, options: Options, listeners: Sequence[Callable[[Event], None]] = ()
) -> None:
    """Lets go of everything the unfinished run `run_id` holds; of one that nobody can resume, of what is
    found. Raises UsageError if there is no such run."""
    with open_workspace(path, options, threading.Event(), listeners) as workspace, ExitStack() as stack:
        stack.enter_context(workspace.lock(run_id))
        runs = workspace.state.runs()
        known = [record for record in runs.known if record.id == run_id and record.is_unfinished]
        unread = [one for one in runs.unread if one.run == run_id and one.unfinished is not False]
        # Of a run that is not one of this job's, those that have its records may resume it.
        left = [] if known or unread else [orphan for orphan in lost(workspace) if orphan.run == run_id]
        if not known and not unread and not left:
            raise UsageError(f"the job {workspace.job.name} has no unfinished run {run_id}")
        with nothing_is_usage():
            if known:
                give_up(workspace, known[0])
            elif unread:
                give_up_unread(workspace, unread[0])
            else:
                _let_go(left)


def foreign(workspace: Workspace, record: RunRecord) -> str | None:
    """Why this version of the program can neither resume nor roll back the run; None where it can. Raises
    StateError for what is damaged."""
    unwinding = workspace.unwinding(workspace.state.open(record.id))
    try:
        misfits = unwinding.misfits()
    except ForeignStateError as error:
        return error.message
    return f"of {', '.join(map(str, misfits))} the records do not fit" if misfits else None


def give_up(workspace: Workspace, record: RunRecord) -> None:
    """What only records tell of that are damaged, or of another version, is found by the run's name. Raises
    what could not be let go of: the run stays unfinished then."""
    workspace.run(record)
    state = workspace.state.open(record.id)
    unwinding = workspace.unwinding(state)
    try:
        misfits = unwinding.misfits()
        is_readable = True
    except StateError:
        misfits, is_readable = (), False
    if is_readable:
        # A run that only had to be unwound has published: its point stays.
        unwinding.abandon(sealed=workspace.is_out(record, unwinding), but=misfits).raise_failures()
    if misfits or not is_readable:
        _let_go(_left_by(workspace, record.id))
    state.save(record.model_copy(update={"phase": "abandoned", "ended": now()}))


def give_up_unread(workspace: Workspace, one: UnreadRun) -> None:
    """As `give_up`, of a run of which not even the first record can be read."""
    _let_go(_left_by(workspace, one.run))
    record = new_record(workspace.job, one.run)
    workspace.state.open(one.run).save(record.model_copy(update={"phase": "abandoned", "ended": now()}))


def _left_by(workspace: Workspace, run: str) -> list[Orphan]:
    return [orphan for orphan in lost(workspace, given_up=run) if orphan.run == run]


def _let_go(left: Sequence[Orphan]) -> None:
    """Each that may be; raises what stays, and why."""
    failures = []
    for orphan in left:
        try:
            if orphan.stays is not None:
                raise SendenseError(orphan.stays)
            orphan.let_go()
        except SendenseError as error:
            failures.append(f"{orphan.what} stays: {error}")
    if failures:
        raise UnwindError("; ".join(failures))
