"""Runs a job, or resumes its unfinished run."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from runner.app.earlier_runs import EARLIER, discard, earlier
from runner.app.outcome import verdict_of
from runner.app.records import account, git_commit, new_record, new_run_id
from runner.app.workspace import EVENTS, Options, Workspace, nothing_is_usage, open_workspace
from runner.base.errors import Interrupted, SendenseError, StateError, UsageError
from runner.engine.checkpoint import RunRecord, RunState, now
from runner.engine.conclusion import RUN
from runner.engine.executor import Executor, Outcome
from runner.engine.live_observer import LiveObserver
from runner.engine.readiness import require_ready
from runner.engine.retry import patiently
from runner.engine.standing import Outcomes
from runner.engine.teardown import Unwinding
from runner.engine.walk import Walk
from runner.events.events import Event, RunFinished, RunStarted, Warned
from runner.events.journal import Journal
from runner.events.step_report import Alarm
from runner.hosts.limits import limit_of
from runner.job.model import Job
from runner.job.nodes import NodeId
from runner.step.context import Run

THE_EVENTS = "the run's events"
THIS_PROCESS = "this process"
"""What a warning is about, in words, where it is no node."""


@dataclass(frozen=True)
class Result:
    """`directory` is local: events.jsonl lies there. `told`: whether all of the run's events do."""

    run: str
    job: Job
    exit_code: int
    directory: Path
    told: bool = True


class RunBroke(Exception):
    """A bug of this program ended the run, after everything was unwound. It is the cause; `result` is what a
    report can be made of."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"a bug ended run {result.run}")
        self.result = result


def run_job(
    path: Path, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]] = ()
) -> Result:
    """Runs the job, or resumes its unfinished run. What fails in a node comes back as the exit code,
    what keeps the run from beginning is raised (JobFileError, LockedError, UsageError, StateError). Raises
    RunBroke for a bug."""
    with open_workspace(path, options, stop, listeners) as workspace, ExitStack() as stack:
        candidate = earlier(workspace, fresh=options.fresh).resumed
        run_id = new_run_id() if candidate is None else candidate.id
        stack.enter_context(workspace.lock(run_id))
        found = earlier(workspace, fresh=options.fresh)
        if found.discarded:
            with nothing_is_usage():
                discard(workspace, found)
        if found.resumed is None and candidate is not None:
            run_id = new_run_id()  # it was finished by another, just before we had the lock
        record = found.resumed or new_record(workspace.job, run_id)
        return _execute(workspace, record, options, found.said, resumed=found.resumed is not None)


def _execute(
    workspace: Workspace, record: RunRecord, options: Options, said: Sequence[str], *, resumed: bool
) -> Result:
    """`said` of earlier runs."""
    began = time.monotonic()
    state = workspace.state.open(record.id)
    commit = git_commit(Path(workspace.job.file).parent)
    run = workspace.run(record.model_copy(update={"job_digest": workspace.job.digest, "git_commit": commit}))
    directory = workspace.directory(record.id)
    with ExitStack() as stack:
        journals = list(_journals(workspace, stack, directory / EVENTS, options.events))
        if resumed:
            state.tidy()
        else:
            state.create(record)
        workspace.bus.emit(
            RunStarted(
                run=record.id,
                job=workspace.job.name,
                resumed=resumed,
                job_file=workspace.job.file,
                job_digest=workspace.job.digest,
                files=dict(workspace.job.digests),
                settings=dict(options.overrides),
                git_commit=commit,
                by=account(),
                resume=options.typed or options.command("run", workspace.job.file),
                tools=dict(run.tools),
            )
        )
        for text in said:
            workspace.bus.emit(Warned(node=EARLIER, text=text))
        unwinding = workspace.unwinding(state)
        try:
            outcome = _within_limits(
                lambda: _worked(workspace, record, run, state, unwinding, options, resumed=resumed)
            )
        except Exception as bug:
            text = "".join(traceback.format_exception_only(bug)).strip()
            seconds = time.monotonic() - began
            unwinding.name_what_is_held(record.id, work_done=False)
            _tell_what_is_lost(workspace, journals)
            workspace.bus.emit(
                RunFinished(
                    run=record.id, outcome="failed", exit_code=1, seconds=seconds, error=f"bug: {text}"
                )
            )
            raise RunBroke(
                Result(record.id, workspace.job, 1, directory, told=_is_whole(journals, directory / EVENTS))
            ) from bug
        finished = _conclude(workspace, state, record, unwinding, outcome, time.monotonic() - began)
        _tell_what_is_lost(workspace, journals)
        workspace.bus.emit(finished)
        return Result(
            record.id,
            workspace.job,
            finished.exit_code,
            directory,
            told=_is_whole(journals, directory / EVENTS),
        )


def _within_limits(work: Callable[[], Outcome]) -> Outcome:
    """A limit of this machine that is met outside of any node is a failure as one that a node meets."""
    try:
        return work()
    except Exception as error:
        if (limit := limit_of(error)) is None:
            raise
        return Outcome(begun=True, failures=[(THIS_PROCESS, limit)])


def _worked(
    workspace: Workspace,
    record: RunRecord,
    run: Run,
    state: RunState,
    unwinding: Unwinding,
    options: Options,
    *,
    resumed: bool,
) -> Outcome:
    """What came of this execution's nodes."""
    try:
        if resumed:
            unwinding.settle()
        stands = workspace.stands(record, unwinding) if resumed else frozenset()
    except Interrupted:
        return Outcome(begun=True, interrupted=True)
    except SendenseError as error:
        return Outcome(begun=True, work_done=record.phase == "unwinding", failures=[(RUN, error)])
    nodes, resolver = workspace.nodes(run)
    executor = Executor(
        nodes=nodes,
        registry=workspace.registry,
        resolver=resolver,
        world=workspace.world,
        state=state,
        unwinding=unwinding,
        bus=workspace.bus,
        stop=workspace.world.stop,
        jobs=options.nodes,
        stands=stands,
        is_sealed=lambda: workspace.is_sealed(unwinding),
        work_done=lambda: state.save(record.model_copy(update={"phase": "unwinding"})),
        look_ahead=lambda outputs: _look_ahead(workspace, run, outputs),
    )
    return executor.execute()


def _look_ahead(workspace: Workspace, run: Run, outputs: Mapping[NodeId, JsonValue]) -> None:
    """Raises NotReady."""
    standings, observer = Outcomes(outputs), LiveObserver(workspace.world)
    # With nodes of its own: what is foreseen here is no list for those of the run.
    require_ready(Walk(*workspace.nodes(run), observer, standings, looks=False))


def _journals(workspace: Workspace, stack: ExitStack, own: Path, asked_for: Path | None) -> Iterator[Journal]:
    """Closed with `stack`. What nobody asked for is no reason not to begin. Raises UsageError for what
    somebody did."""
    for file in filter(None, (own, asked_for)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            journal = Journal(file)
        except (OSError, StateError) as error:
            text = (
                error.message if isinstance(error, StateError) else f"{file} cannot be made: {error.strerror}"
            )
            if file is asked_for:
                raise UsageError(text) from error
            workspace.bus.emit(Warned(node=THE_EVENTS, text=text))
            continue
        stack.callback(_close, workspace, journal)
        workspace.bus.subscribe(journal)
        yield journal


def _is_whole(journals: Sequence[Journal], file: Path) -> bool:
    return any(journal.path == file and journal.failure is None for journal in journals)


def _tell_what_is_lost(workspace: Workspace, journals: Sequence[Journal]) -> None:
    for journal in journals:
        if (failure := journal.failure) is not None:
            workspace.bus.emit(Warned(node=THE_EVENTS, text=failure))


def _close(workspace: Workspace, journal: Journal) -> None:
    """The work's result stands, whatever becomes of its journal."""
    told = journal.failure
    journal.close()
    if (failure := journal.failure) is not None and failure != told:
        workspace.bus.emit(Warned(node=THE_EVENTS, text=failure))


def _conclude(
    workspace: Workspace,
    state: RunState,
    record: RunRecord,
    unwinding: Unwinding,
    outcome: Outcome,
    seconds: float,
) -> RunFinished:
    alarms = _alarms(workspace, state)
    finished = verdict_of(record.id, outcome, seconds, alarms)
    if finished.outcome in ("done", "alarm"):
        told = tuple(alarm.text for alarm in alarms)
        ended = record.model_copy(update={"phase": "finished", "ended": now(), "alarms": told})
        try:
            patiently(lambda number: state.save(ended), RUN, workspace.bus, workspace.world.stop)
        except SendenseError as error:  # only that is left for the next execution
            outcome.failures.append((RUN, error))
            finished = verdict_of(record.id, outcome, seconds, alarms)
        else:
            _forget_old(workspace)
    else:
        unwinding.name_what_is_held(record.id, work_done=outcome.work_done)
    return finished


def _forget_old(workspace: Workspace) -> None:
    """Records of old runs that stay are no reason for a completed run to fail: the next one deletes them."""
    try:
        workspace.forget_old()
    except SendenseError as error:
        workspace.bus.emit(Warned(node=RUN, text=f"the records of old runs were not deleted: {error}"))


def _alarms(workspace: Workspace, state: RunState) -> list[Alarm]:
    """From the records, so that those of an execution that was killed count too; none of records that cannot
    be read, which is what failed then."""
    try:
        known = state.nodes().values()
    except SendenseError:
        return []
    done = [record for record in known if record.state == "done" and record.out is not None]
    found = (workspace.registry.report(record.step, record.out or {}).alarm for record in done)
    return [alarm for alarm in found if alarm is not None]
