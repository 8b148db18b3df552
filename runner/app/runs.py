"""A job is run, or its unfinished run is gone on with."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runner.app.earlier_runs import EARLIER, discard, earlier
from runner.app.outcome import verdict_of
from runner.app.records import account, git_commit, new_record, new_run_id
from runner.app.workspace import EVENTS, Desk, Options, nothing_is_usage, open_desk
from runner.base.errors import Interrupted, SendenseError, StateError, UsageError
from runner.engine.checkpoint import RunRecord, RunState, now
from runner.engine.conclusion import RUN
from runner.engine.executor import Executor, Outcome
from runner.engine.preflight import Examination
from runner.engine.retry import patiently
from runner.engine.teardown import Unwinding
from runner.events.events import Event, RunFinished, RunStarted, Warned
from runner.events.journal import Journal
from runner.events.step_report import Alarm
from runner.hosts.limits import limit_of
from runner.job.model import Job
from runner.step.step import Run

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
    """Runs the job, or goes on with its unfinished run. What fails in a node comes back as the exit code,
    what keeps the run from beginning is raised (JobFileError, LockedError, UsageError, StateError). Raises
    RunBroke for a bug."""
    with open_desk(path, options, stop, listeners) as desk, ExitStack() as stack:
        candidate = earlier(desk, fresh=options.fresh).resumed
        run_id = new_run_id() if candidate is None else candidate.id
        stack.enter_context(desk.lock(run_id))
        found = earlier(desk, fresh=options.fresh)
        if found.discarded:
            with nothing_is_usage():
                discard(desk, found)
        if found.resumed is None and candidate is not None:
            run_id = new_run_id()  # it was finished by another, just before we had the lock
        record = found.resumed or new_record(desk.job, run_id)
        return _execute(desk, record, options, found.said, resumed=found.resumed is not None)


def _execute(
    desk: Desk, record: RunRecord, options: Options, said: Sequence[str], *, resumed: bool
) -> Result:
    """`said` of earlier runs."""
    began = time.monotonic()
    state = desk.state.open(record.id)
    commit = git_commit(Path(desk.job.file).parent)
    run = desk.run(record.model_copy(update={"job_digest": desk.job.digest, "git_commit": commit}))
    directory = desk.directory(record.id)
    with ExitStack() as stack:
        journals = list(_journals(desk, stack, directory / EVENTS, options.events))
        if resumed:
            state.tidy()
        else:
            state.create(record)
        desk.bus.emit(
            RunStarted(
                run=record.id,
                job=desk.job.name,
                resumed=resumed,
                job_file=desk.job.file,
                job_digest=desk.job.digest,
                files=dict(desk.job.digests),
                settings=dict(options.overrides),
                git_commit=commit,
                by=account(),
                resume=options.typed or options.command("run", desk.job.file),
                tools=dict(run.tools),
            )
        )
        for text in said:
            desk.bus.emit(Warned(node=EARLIER, text=text))
        unwinding = desk.unwinding(state)
        try:
            outcome = _within_limits(
                lambda: _worked(desk, record, run, state, unwinding, options, resumed=resumed)
            )
        except Exception as bug:
            text = "".join(traceback.format_exception_only(bug)).strip()
            seconds = time.monotonic() - began
            unwinding.name_what_is_held(record.id, work_done=False)
            _tell_what_is_lost(desk, journals)
            desk.bus.emit(
                RunFinished(
                    run=record.id, outcome="failed", exit_code=1, seconds=seconds, error=f"bug: {text}"
                )
            )
            raise RunBroke(
                Result(record.id, desk.job, 1, directory, told=_is_whole(journals, directory / EVENTS))
            ) from bug
        finished = _conclude(desk, state, record, unwinding, outcome, time.monotonic() - began)
        _tell_what_is_lost(desk, journals)
        desk.bus.emit(finished)
        return Result(
            record.id, desk.job, finished.exit_code, directory, told=_is_whole(journals, directory / EVENTS)
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
    desk: Desk,
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
        stands = desk.stands(record, unwinding) if resumed else frozenset()
    except Interrupted:
        return Outcome(begun=True, interrupted=True)
    except SendenseError as error:
        return Outcome(begun=True, work_done=record.phase == "unwinding", failures=[(RUN, error)])
    nodes, resolver = desk.nodes(run)
    executor = Executor(
        nodes=nodes,
        registry=desk.registry,
        resolver=resolver,
        world=desk.world,
        state=state,
        unwinding=unwinding,
        bus=desk.bus,
        stop=desk.world.stop,
        jobs=options.jobs,
        stands=stands,
        is_sealed=lambda: desk.is_sealed(unwinding),
        work_done=lambda: state.save(record.model_copy(update={"phase": "unwinding"})),
        examine=lambda known: Examination(*desk.nodes(run), desk.world).refuse_unless_ready(known),
    )
    return executor.execute()


def _journals(desk: Desk, stack: ExitStack, own: Path, asked_for: Path | None) -> Iterator[Journal]:
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
            desk.bus.emit(Warned(node=THE_EVENTS, text=text))
            continue
        stack.callback(_close, desk, journal)
        desk.bus.subscribe(journal)
        yield journal


def _is_whole(journals: Sequence[Journal], file: Path) -> bool:
    return any(journal.path == file and journal.failure is None for journal in journals)


def _tell_what_is_lost(desk: Desk, journals: Sequence[Journal]) -> None:
    for journal in journals:
        if (failure := journal.failure) is not None:
            desk.bus.emit(Warned(node=THE_EVENTS, text=failure))


def _close(desk: Desk, journal: Journal) -> None:
    """What came of the work stands, whoever can read of it."""
    told = journal.failure
    journal.close()
    if (failure := journal.failure) is not None and failure != told:
        desk.bus.emit(Warned(node=THE_EVENTS, text=failure))


def _conclude(
    desk: Desk, state: RunState, record: RunRecord, unwinding: Unwinding, outcome: Outcome, seconds: float
) -> RunFinished:
    alarms = _alarms(desk, state)
    finished = verdict_of(record.id, outcome, seconds, alarms)
    if finished.outcome in ("done", "alarm"):
        told = tuple(alarm.text for alarm in alarms)
        ended = record.model_copy(update={"phase": "finished", "ended": now(), "alarms": told})
        try:
            patiently(lambda: state.save(ended), RUN, desk.bus, desk.world.stop)
        except SendenseError as error:  # only that is left for the next execution
            outcome.failures.append((RUN, error))
            finished = verdict_of(record.id, outcome, seconds, alarms)
        else:
            _forget_old(desk)
    else:
        unwinding.name_what_is_held(record.id, work_done=outcome.work_done)
    return finished


def _forget_old(desk: Desk) -> None:
    """What stays of old runs is no reason for a run that is done to fail: the next one that is forgets it."""
    try:
        desk.forget_old()
    except SendenseError as error:
        desk.bus.emit(Warned(node=RUN, text=f"the records of old runs stay for now: {error}"))


def _alarms(desk: Desk, state: RunState) -> list[Alarm]:
    """From the records, so that those of an execution that was killed count too; none of records that cannot
    be read, which is what failed then."""
    try:
        known = state.nodes().values()
    except SendenseError:
        return []
    done = [record for record in known if record.state == "done" and record.out is not None]
    found = (desk.registry.findings(record.step, record.out or {}).alarm for record in done)
    return [alarm for alarm in found if alarm is not None]
