"""Runs a job, or resumes its unfinished run."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from runner.app.afterwards import Ended, afterwards, refusals
from runner.app.earlier_runs import EARLIER, Earlier, discard, earlier
from runner.app.journals import Journals
from runner.app.options import EVENTS, Options
from runner.app.outcome import verdict_of
from runner.app.records import account, commit_of, new_record, new_run_id
from runner.app.workspace import Workspace, nothing_is_usage, open_workspace
from runner.base.errors import Interrupted, SendenseError
from runner.engine.checkpoint import RunRecord, now
from runner.engine.early_look import early_look
from runner.engine.executor import Executor
from runner.engine.failures import Outcome
from runner.engine.live_observer import LiveObserver
from runner.engine.readiness import require_ready
from runner.engine.recorded import RecordedRun
from runner.engine.retry import patiently
from runner.engine.standing import Outcomes
from runner.engine.teardown import RUN
from runner.engine.walk import Walk
from runner.events.events import Event, RunFinished, RunStarted, Warned
from runner.events.step_report import Alarm
from runner.hosts.limits import limit_of
from runner.hosts.spec import SshSpec
from runner.job.model import Job
from runner.job.nodes import NodeId
from runner.job.written_job import WrittenJob
from runner.step.context import Run, Shares, Turns

THIS_PROCESS = "this process"
"""What a warning is about, in words, where it is no node."""


@dataclass(frozen=True)
class Result:
    """`directory` is local and has events.jsonl. `told`: whether all of the run's events are in it."""

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
    job: Path | Job,
    options: Options,
    stop: threading.Event,
    listeners: Sequence[Callable[[Event], None]] = (),
) -> Result:
    """Runs the job, or resumes its unfinished run. What fails in a node comes back as the exit code,
    what keeps the run from beginning is raised (JobFileError, LockedError, UsageError, StateError). Raises
    RunBroke for a bug."""
    with open_workspace(job, options, stop, listeners) as workspace, ExitStack() as stack:
        with refusals(workspace):
            found, record = _begin(workspace, stack)
        if found.answers is not None:
            return _answer(workspace, found.answers)
        return _Execution(workspace, record, resumed=found.resumed is not None).execute(found.said)


def _begin(workspace: Workspace, stack: ExitStack) -> tuple[Earlier, RunRecord]:
    """Takes the job's lock, until `stack` is closed, and discards what is to be. The record of the run that
    is resumed, or of a new one."""
    options = workspace.options
    candidate = earlier(workspace, fresh=options.fresh).resumed
    run_id = new_run_id() if candidate is None else candidate.id
    stack.enter_context(workspace.lock(run_id))
    found = earlier(workspace, fresh=options.fresh)
    if found.answers is not None:
        return found, found.answers
    if found.discarded:
        with nothing_is_usage():
            discard(workspace, found)
    if found.resumed is None and candidate is not None:
        run_id = new_run_id()  # it was finished by another, just before we had the lock
    record = found.resumed or new_record(workspace.job, run_id, commit_of(workspace.job, options))
    if options.placed is not None:
        record = record.model_copy(update={"order": options.placed.order})
    return found, record


def _answer(workspace: Workspace, record: RunRecord) -> Result:
    """Of an order that was given again: the process that worked on it was lost, and had done it."""
    workspace.run(record)
    workspace.bus.emit(
        RunStarted(
            run=record.id,
            job=record.job,
            resumed=True,
            job_file=record.job_file,
            job_digest=record.job_digest,
            by=account(),
        )
    )
    text = "it was done already, before this execution was cut short"
    workspace.bus.emit(Warned(node=EARLIER, text=text))
    alarms = _alarms(workspace, workspace.recorded(record))
    finished = verdict_of(record.id, Outcome(begun=True, work_done=True), 0.0, alarms)
    workspace.bus.emit(finished)
    directory = workspace.directory(record.id)
    return Result(record.id, workspace.job, finished.exit_code, directory, told=False)


class _Execution:
    """What one process does of a run, from its first event to its last."""

    def __init__(self, workspace: Workspace, record: RunRecord, *, resumed: bool) -> None:
        self._workspace = workspace
        self._record = record
        self._resumed = resumed
        self._began = time.monotonic()
        self._recorded = workspace.recorded(record)
        self._unwinding = workspace.unwinding(self._recorded)
        self._directory = workspace.directory(record.id)

    def execute(self, said: Sequence[str]) -> Result:
        """`said` of earlier runs. Raises RunBroke."""
        workspace, record = self._workspace, self._record
        commit = commit_of(workspace.job, workspace.options) if self._resumed else record.git_commit
        update = {"job_digest": workspace.job.digest, "git_commit": commit}
        with Journals(workspace.bus, self._directory / EVENTS, workspace.options.events) as journals:
            if self._resumed:
                self._recorded.state.tidy()
            else:
                self._recorded.state.create(record)
            self._recorded.state.save_job(WrittenJob.of(workspace.job))
            run = workspace.run(record.model_copy(update=update), self._recorded.state)
            self._tell_begin(run, said)
            try:
                outcome = _within_limits(lambda: self._work(run))
            except Exception as bug:
                text = "".join(traceback.format_exception_only(bug)).strip()
                self._unwinding.name_what_is_held(record.id, work_done=False)
                finished = RunFinished(
                    run=record.id, outcome="failed", exit_code=1, seconds=self._seconds, error=f"bug: {text}"
                )
                raise RunBroke(self._end(finished, journals)) from bug
            return self._end(self._conclude(outcome), journals)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _tell_begin(self, run: Run, said: Sequence[str]) -> None:
        job, options = self._workspace.job, self._workspace.options
        self._workspace.bus.emit(
            RunStarted(
                run=run.id,
                job=job.name,
                resumed=self._resumed,
                job_file=job.file,
                job_digest=job.digest,
                files=dict(job.digests),
                settings=dict(options.overrides),
                git_commit=run.git_commit,
                by=account(),
                resume=options.typed or options.command("run", job.file),
                tools=dict(run.tools),
            )
        )
        for text in said:
            self._workspace.bus.emit(Warned(node=EARLIER, text=text))

    def _work(self, run: Run) -> Outcome:
        """What came of this execution's nodes."""
        workspace, record, recorded = self._workspace, self._record, self._recorded
        workspace.world.turns = _turns(workspace)
        workspace.world.shares = _shares(workspace)
        try:
            if self._resumed:
                recorded.settle()
            stands = workspace.stands(record, recorded) if self._resumed else frozenset()
        except Interrupted:
            return Outcome(begun=True, interrupted=True)
        except SendenseError as error:
            return Outcome(begun=True, work_done=record.phase == "unwinding", failures=[(RUN, error)])
        nodes, resolver = workspace.nodes(run)
        executor = Executor(
            nodes=nodes,
            resolver=resolver,
            world=workspace.world,
            recorded=recorded,
            unwinding=self._unwinding,
            at_once=workspace.options.nodes,
            stands=stands,
            is_committed=lambda: workspace.is_committed(recorded),
            work_done=lambda: recorded.state.save(record.model_copy(update={"phase": "unwinding"})),
            look_ahead=partial(self._look_ahead, run),
            look_early=partial(
                early_look, nodes, resolver, partial(LiveObserver, workspace.world), workspace.bus.emit
            ),
        )
        return executor.execute()

    def _look_ahead(self, run: Run, outputs: Mapping[NodeId, JsonValue]) -> None:
        """Raises NotReady."""
        standings, observer = Outcomes(outputs), LiveObserver(self._workspace.world)
        # With nodes of its own: what is foreseen here is no list for those of the run.
        require_ready(Walk(*self._workspace.nodes(run), observer, standings, looks=False))

    def _conclude(self, outcome: Outcome) -> RunFinished:
        workspace, record = self._workspace, self._record
        alarms = _alarms(workspace, self._recorded)
        finished = verdict_of(record.id, outcome, self._seconds, alarms)
        if finished.outcome not in ("done", "alarm"):
            self._unwinding.name_what_is_held(record.id, work_done=outcome.work_done)
            return finished
        told = tuple(alarm.text for alarm in alarms)
        ended = record.model_copy(update={"phase": "finished", "ended": now(), "alarms": told})
        try:
            patiently(lambda _: self._recorded.state.save(ended), RUN, workspace.bus, workspace.world.stop)
        except SendenseError as error:  # only that is left for the next execution
            outcome.failures.append((RUN, error))
            return verdict_of(record.id, outcome, self._seconds, alarms)
        self._forget_old()
        return finished

    def _end(self, finished: RunFinished, journals: Journals) -> Result:
        # Before the end is told, so that a notice which was not sent is part of what the run says.
        afterwards(self._workspace, [Ended(finished.outcome, finished.error or "")])
        journals.tell_what_is_lost()
        self._workspace.bus.emit(finished)
        job, code = self._workspace.job, finished.exit_code
        return Result(self._record.id, job, code, self._directory, told=journals.is_whole)

    def _forget_old(self) -> None:
        """Records of old runs that stay are no reason for a completed run to fail: the next one deletes
        them."""
        try:
            self._workspace.forget_old()
        except SendenseError as error:
            text = f"the records of old runs were not deleted: {error}"
            self._workspace.bus.emit(Warned(node=RUN, text=text))


def _alarms(workspace: Workspace, recorded: RecordedRun) -> list[Alarm]:
    """From the records, so that those of an execution that was killed count too; none of records that cannot
    be read, which is what failed then."""
    try:
        known = recorded.state.nodes().values()
    except SendenseError:
        return []
    done = [record for record in known if record.state == "done" and record.out is not None]
    found = (workspace.registry.report(record.step, record.out or {}).alarm for record in done)
    return [alarm for alarm in found if alarm is not None]


def _turns(workspace: Workspace) -> Turns | None:
    """None for a child of a set, whose controller waited for it, and for a job without limits."""
    job = workspace.job
    limited = [entry.limited for section in job.sections.values() for entry in section.values()]
    limited += [host.limited for host in job.hosts.values() if isinstance(host, SshSpec)]
    if job.child_of is not None or not any(limited):
        return None
    from runner.app.own_turn import turns_of

    return turns_of(workspace)


def _shares(workspace: Workspace) -> Shares | None:
    """Also for a child of a set: its controller knows nothing of what its nodes take for a while."""
    limits = [workspace.job.room_limits(host) for host in workspace.job.hosts]
    if not any(one.memory or one.disk for one in limits):
        return None
    from runner.app.own_turn import HostShares

    return HostShares(workspace)


def _within_limits(work: Callable[[], Outcome]) -> Outcome:
    """A limit of this machine that is met outside of any node is a failure as one that a node meets."""
    try:
        return work()
    except Exception as error:
        if (limit := limit_of(error)) is None:
            raise
        return Outcome(begun=True, failures=[(THIS_PROCESS, limit)])
