"""Wiring: a job file, the installed steps, the state and the world become a run, a plan, or an abandoned run.

Nothing here prints; the command line gives listeners and gets results.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner import __version__, doctor, process
from runner.checkpoint import Holder, JobState, RunRecord, RunState, now
from runner.doctor import Diagnosis
from runner.errors import UsageError
from runner.events import Bus, Event, RunFinished, RunStarted
from runner.examination import Examination
from runner.executor import Executor, Outcome
from runner.graph import StepGraph
from runner.hosts.local import LocalHost
from runner.inputs import Resolver
from runner.job import load
from runner.job_model import Job
from runner.journal import Journal, read_events
from runner.looking import Looking
from runner.nodes import Nodes
from runner.plan import Blind, Plan, Planner
from runner.process import temporary_directory
from runner.step import TOOLS, Log, Registry, Run
from runner.summary import RunSummary, fold
from runner.unwind import Unwinding
from runner.world import World

EVENTS = "events.jsonl"
DEFAULT_JOBS = 4
"""Nodes that run at once: enough for both cores while others wait on the network."""


@dataclass(frozen=True)
class Options:
    overrides: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None
    """Where the state of jobs without `state:` lies."""
    jobs: int = DEFAULT_JOBS
    fresh: bool = False
    events: Path | None = None

    def command(self, verb: str, job: str) -> str:
        """The command line that does `verb` to the same job with the same state."""
        settings = [f"--set={name}={value}" for name, value in self.overrides.items()]
        state = [] if self.state is None else [f"--state={self.state}"]
        return shlex.join(("sendense", verb, job, *settings, *state))


@dataclass(frozen=True)
class Result:
    """`directory` is local: events.jsonl lies there."""

    run: str
    job: Job
    exit_code: int
    directory: Path


def state_directory(options: Options) -> Path:
    if options.state is not None:
        return options.state.absolute()
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "sendense"


def read_job(path: Path, options: Options, registry: Registry | None = None) -> Job:
    """Raises JobFileError."""
    return load(path, registry or Registry.installed(), options.overrides)


@dataclass
class Desk:
    """All that is needed to work on one job: made by `_desk`, good while that is open."""

    job: Job
    options: Options
    registry: Registry
    bus: Bus
    world: World
    state: JobState
    local: Path

    def nodes(self, run: Run) -> tuple[Nodes, Resolver]:
        nodes = Nodes(self.job.steps, StepGraph(self.job.steps, self.registry), self.registry)
        return nodes, Resolver(self.job, nodes, self.world.identities(), run.id)

    def unwinding(self, state: RunState) -> Unwinding:
        return Unwinding(state, self.registry, self.world, self.bus, self.options.command("sweep", self.job.file))


@contextmanager
def _desk(
    path: Path, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]]
) -> Iterator[Desk]:
    registry = Registry.installed()
    job = read_job(path, options, registry)
    bus = Bus()
    for listener in listeners:
        bus.subscribe(listener)
    with temporary_directory() as scratch, World(job, bus, stop, Path(scratch)) as world:
        local = state_directory(options)
        if job.state is None:
            state = JobState(LocalHost("local"), str(local), job.name)
        else:
            state = JobState(world.host(job.state.host), job.state.path, job.name)
        yield Desk(job, options, registry, bus, world, state, local)


def run_job(
    path: Path, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]] = ()
) -> Result:
    """Runs the job, or goes on with its unfinished run. What fails in a node comes back as the exit code, what keeps
    the run from beginning is raised (JobFileError, LockedError, UsageError, StateError)."""
    with _desk(path, options, stop, listeners) as desk, ExitStack() as stack:
        candidate = desk.state.unfinished()
        run_id = new_run_id() if candidate is None or options.fresh else candidate.id
        lock = desk.state.lock(str(_holder(run_id)))
        stack.callback(lock.release)
        unfinished = desk.state.unfinished()
        if unfinished is not None and options.fresh:
            _abandon(desk, unfinished)
            unfinished = None
        if unfinished is None and candidate is not None and run_id == candidate.id:
            run_id = new_run_id()  # it was finished by another, just before we had the lock
        record = _resumable(desk, unfinished) if unfinished is not None else _new_record(desk.job, run_id)
        return _execute(desk, record, options, stop, resumed=unfinished is not None)


def _execute(desk: Desk, record: RunRecord, options: Options, stop: threading.Event, *, resumed: bool) -> Result:
    began = time.monotonic()
    state = desk.state.open(record.id)
    run = Run(record.id, desk.job.name, desk.job.digest, record.git_commit, _tools(state.log(TOOLS)))
    desk.world.run, desk.world.log = run, state.log
    directory = _directory(desk, record.id)
    with ExitStack() as stack:
        for file in filter(None, (directory / EVENTS, options.events)):
            desk.bus.subscribe(stack.enter_context(_journal(file)))
        if not resumed:
            state.create(record)
        desk.bus.emit(
            RunStarted(
                run=record.id,
                job=desk.job.name,
                resumed=resumed,
                job_file=desk.job.file,
                job_digest=desk.job.digest,
                resume=options.command("run", desk.job.file),
                tools=dict(run.tools),
            )
        )
        nodes, resolver = desk.nodes(run)
        unwinding = desk.unwinding(state)
        only_unwind = record.phase == "unwinding" or (resumed and _is_sealed(desk, unwinding))
        executor = Executor(
            nodes=nodes,
            registry=desk.registry,
            resolver=resolver,
            world=desk.world,
            state=state,
            unwinding=unwinding,
            bus=desk.bus,
            stop=stop,
            jobs=options.jobs,
            only_unwind=only_unwind,
            work_done=lambda: state.save(record.model_copy(update={"phase": "unwinding"})),
            examine=lambda known: Examination(*desk.nodes(run), desk.world).refuse_unless_ready(known),
        )
        outcome = executor.execute()
        finished = _conclude(desk, state, record, unwinding, outcome, time.monotonic() - began)
        return Result(record.id, desk.job, finished.exit_code, directory)


def _journal(file: Path) -> Journal:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return Journal(file)
    except OSError as error:
        raise UsageError(f"events cannot be written to {file}: {error.strerror}") from error


def _is_sealed(desk: Desk, unwinding: Unwinding) -> bool:
    """Whether a run that was killed before it could say so has done all its work. Where a job seals more than once (one
    point for each of many VMs), one seal says nothing of the others."""
    sealing = [spec for spec in desk.job.steps if desk.registry.steps[spec.uses].seals]
    return len(sealing) == 1 and not sealing[0].each and unwinding.is_sealed()


def _conclude(
    desk: Desk, state: RunState, record: RunRecord, unwinding: Unwinding, outcome: Outcome, seconds: float
) -> RunFinished:
    finished = _verdict(record.id, outcome, seconds)
    if finished.outcome == "done":
        state.save(record.model_copy(update={"phase": "finished", "ended": now()}))
        desk.state.forget_old()
    else:
        unwinding.name_what_is_held(record.id, work_done=outcome.work_done)
    desk.bus.emit(finished)
    return finished


def _verdict(run: str, outcome: Outcome, seconds: float) -> RunFinished:
    """The fold of the nodes' ends into one outcome and exit code."""
    if outcome.interrupted:
        return RunFinished(run=run, outcome="interrupted", exit_code=130, seconds=seconds)
    if outcome.work_done and (outcome.unwind_failures or outcome.failures):
        errors = outcome.unwind_failures or [str(error) for _, error in outcome.failures]
        return RunFinished(run=run, outcome="unwind-failed", exit_code=1, seconds=seconds, error="; ".join(errors))
    if outcome.work_done:
        return RunFinished(run=run, outcome="done", exit_code=0, seconds=seconds)
    codes = [error.exit_code for _, error in outcome.failures]
    code = next((code for code in (5, 3, 1, 2) if code in codes), 1)
    error = "; ".join(f"{node}: {error}" for node, error in outcome.failures)
    return RunFinished(run=run, outcome="failed", exit_code=code, seconds=seconds, error=error or None)


def _resumable(desk: Desk, record: RunRecord) -> RunRecord:
    if record.vars != dict(desk.job.vars):
        differing = sorted(
            name for name in {*record.vars, *desk.job.vars} if record.vars.get(name) != desk.job.vars.get(name)
        )
        raise UsageError(
            f"run {record.id} of {record.job} is unfinished and was begun with other vars ({', '.join(differing)}); "
            "run with the same vars to go on with it, or with --fresh to abandon it"
        )
    return record


def abandon_run(path: Path, run_id: str, options: Options, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
    """Lets go of everything the unfinished run `run_id` holds. Raises UsageError if there is no such run."""
    with _desk(path, options, threading.Event(), listeners) as desk, ExitStack() as stack:
        stack.callback(desk.state.lock(str(_holder(run_id))).release)
        for record in desk.state.runs():
            if record.id == run_id and record.phase in ("working", "unwinding"):
                _abandon(desk, record)
                return
        raise UsageError(f"the job {desk.job.name} has no unfinished run {run_id}")


def _abandon(desk: Desk, record: RunRecord) -> None:
    desk.world.run = Run(record.id, record.job, record.job_digest, record.git_commit)
    state = desk.state.open(record.id)
    desk.world.log = state.log
    unwinding = desk.unwinding(state)
    # A run that only had to be unwound has published: its point stays.
    unwound = unwinding.release(succeeded=True) if record.phase == "unwinding" else unwinding.abandon()
    unwound.raise_failures()
    state.save(record.model_copy(update={"phase": "abandoned", "ended": now()}))


def sweep_job(
    path: Path, options: Options, listeners: Sequence[Callable[[Event], None]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lets go of what unfinished runs may hold no longer; returns what was released, and the runs that still hold
    something. A run that is alive has the lock: LockedError."""
    with _desk(path, options, threading.Event(), listeners) as desk, ExitStack() as stack:
        stack.callback(desk.state.lock(str(_holder("sweep"))).release)
        released: list[str] = []
        holding: list[str] = []
        for record in desk.state.runs():
            if record.phase not in ("working", "unwinding"):
                continue
            desk.world.run = Run(record.id, record.job, record.job_digest, record.git_commit)
            state = desk.state.open(record.id)
            desk.world.log = state.log
            unwinding = desk.unwinding(state)
            unwound = unwinding.release(succeeded=record.phase == "unwinding")
            released += [f"{record.id}: {what}" for what in unwound.released]
            unwound.raise_failures()
            if record.phase == "unwinding":
                state.save(record.model_copy(update={"phase": "finished", "ended": now()}))
            else:
                holding.append(record.id)
                unwinding.name_what_is_held(record.id, work_done=False)
        return tuple(released), tuple(holding)


def diagnose(path: Path | None, options: Options) -> Diagnosis:
    """What a run of the job would meet, or without a job what this machine has. Changes nothing."""
    here = doctor.local(state_directory(options))
    if path is None:
        return doctor.diagnosis(None, here)
    with _desk(path, options, threading.Event(), ()) as desk:
        record = _new_record(desk.job, new_run_id())
        run = desk.world.run = Run(record.id, desk.job.name, desk.job.digest, record.git_commit)
        examination = Examination(*desk.nodes(run), desk.world)
        return doctor.diagnosis(desk.job.name, (*here, *doctor.of_job(desk.job, desk.world, examination)))


def plan_job(path: Path, options: Options, *, offline: bool) -> Plan:
    """Changes nothing, takes no lock, leaves nothing behind."""
    if offline:
        return _plan_offline(path, options)
    with _desk(path, options, threading.Event(), ()) as desk:
        unfinished = None if options.fresh else desk.state.unfinished()
        if unfinished is not None:
            _resumable(desk, unfinished)
        record = unfinished or _new_record(desk.job, new_run_id())
        run = Run(record.id, desk.job.name, desk.job.digest, record.git_commit)
        desk.world.run = run
        records = desk.state.open(record.id).nodes() if unfinished is not None else {}
        nodes, resolver = desk.nodes(run)
        only_unwind = record.phase == "unwinding"
        planner = Planner(nodes, resolver, records, Looking(desk.world), only_unwind=only_unwind)
        plan = planner.plan(desk.job.name, desk.job.file, unfinished.id if unfinished else None)
        if only_unwind:
            return plan
        return plan.with_observations(
            (seen.node, seen.observation)
            for seen in Examination(*desk.nodes(run), desk.world).look(resolver.outputs, thorough=False)
        )


def _plan_offline(path: Path, options: Options) -> Plan:
    registry = Registry.installed()
    job = read_job(path, options, registry)
    world = World(job, Bus(), threading.Event(), Path())
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    resolver = Resolver(job, nodes, world.identities(), "offline")
    return Planner(nodes, resolver, {}, Blind()).plan(job.name, job.file, None)


@dataclass(frozen=True)
class Status:
    """`runs` are those remembered, oldest first; `holder` says who works on the job now; `last` is how far the newest run
    came, None where this machine has no events of it."""

    job: str
    runs: tuple[RunRecord, ...]
    holder: str | None
    last: RunSummary | None

    @property
    def running(self) -> str | None:
        """The id of the run that goes on now."""
        return self.runs[-1].id if self.runs and self.holder and self.runs[-1].id in self.holder else None


def status_of(path: Path, options: Options) -> Status:
    """Changes nothing. Raises JobFileError, StateError."""
    with _desk(path, options, threading.Event(), ()) as desk:
        runs, holder = desk.state.runs(), desk.state.holder()
        last = None
        if runs and (events := _directory(desk, runs[-1].id) / EVENTS).exists():
            last = fold(read_events(events), desk.registry.findings)
        return Status(desk.job.name, runs, holder, last)


def _directory(desk: Desk, run: str) -> Path:
    """Where the run's events lie: with its state where that is on this machine."""
    kept = Path(desk.state.directory)
    return (kept if desk.state.host.local else desk.local / kept.name) / run


def new_run_id() -> str:
    """Sorts by time; the random part keeps two runs of one second apart."""
    return f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _new_record(job: Job, run_id: str) -> RunRecord:
    return RunRecord(
        id=run_id,
        job=job.name,
        vars=dict(job.vars),
        job_file=job.file,
        job_digest=job.digest,
        git_commit=_git_commit(Path(job.file).parent),
        started=now(),
        phase="working",
    )


def _holder(run_id: str) -> Holder:
    return Holder(host=socket.gethostname(), pid=os.getpid(), run=run_id, since=now())


def _tools(seen: Log) -> dict[str, str]:
    """Our own versions, and what earlier executions of this run saw; the steps tell of the others."""
    tools: dict[str, str] = {}
    for line in (seen.read() or b"").splitlines():
        try:
            tool, version = json.loads(line)
        except ValueError:
            continue  # torn by a kill
        tools[tool] = version
    return tools | {"sendense": __version__, "python": platform.python_version()}


def _git_commit(directory: Path) -> str | None:
    """The commit the job file was taken from, with a mark if the tree differs; None outside of git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=process.environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
