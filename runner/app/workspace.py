"""All that is needed to work on one job: the file that was read, the state, the world."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.app.records import new_run_id, tools_seen
from runner.base.errors import SendenseError, UsageError
from runner.engine.checkpoint import RunRecord, RunState
from runner.engine.job_state import KEPT_RUNS, JobState, is_run_id
from runner.engine.recorded import RecordedRun
from runner.engine.teardown import Unwinding
from runner.engine.world import World
from runner.events.events import Bus, Event, Warned
from runner.hosts.local import LocalHost
from runner.hosts.process import temporary_directory
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.load import load
from runner.job.model import Job
from runner.job.nodes import Nodes
from runner.step.context import TOOLS, Context, Run
from runner.step.registry import Registry

EVENTS = "events.jsonl"
DEFAULT_NODES = 4
"""Nodes that run at once: enough for both cores while others wait on the network."""


@dataclass(frozen=True)
class Options:
    overrides: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None
    """Where the state of jobs without `state:` is."""
    nodes: int = DEFAULT_NODES
    fresh: bool = False
    break_lock: bool = False
    """Take a needed lock from the run that holds it: end its session and its exporters on that lock's
    host."""
    events: Path | None = None
    typed: str = ""
    """The command line that wrote the job file and resumes its run; empty for a job that people wrote."""

    def command(self, verb: str, job: str) -> str:
        """The command line that does `verb` to the same job with the same state."""
        settings = [f"--set={name}={value}" for name, value in self.overrides.items()]
        state = [] if self.state is None else [f"--state={self.state}"]
        return shlex.join(("sendense", verb, job, *settings, *state))


def state_directory(options: Options) -> Path:
    """Raises UsageError where there is none, or one that no event could tell."""
    path = options.state.absolute() if options.state is not None else _own_state()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path} is not UTF-8: give another directory with --state DIR") from error
    return path


def _own_state() -> Path:
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "sendense"
    try:
        return Path.home() / ".local" / "state" / "sendense"
    except RuntimeError as error:
        raise UsageError(
            f"user {os.geteuid()} has no home directory for the records of runs: give a directory with "
            "--state DIR"
        ) from error


def read_job(path: Path, options: Options, registry: Registry | None = None, *, part: bool = False) -> Job:
    """`part`: as `load`. Raises JobFileError."""
    return load(path, registry or Registry.installed(), options.overrides, part=part)


@dataclass
class Workspace:
    """All that is needed to work on one job: made by `open_workspace`, good while that is open."""

    job: Job
    options: Options
    registry: Registry
    bus: Bus
    world: World
    state: JobState
    local: Path

    @contextmanager
    def lock(self, run: str) -> Iterator[None]:
        """The job's lock, for work on `run`. Raises LockedError."""
        held = self.state.lock(self.world.claim(run), by_force=self.options.break_lock)
        self.world.guards.append(held)
        try:
            yield
        finally:
            try:
                held.close()
            except SendenseError as error:  # it changes nothing of what came of the work
                self.bus.emit(Warned(node="the job's lock", text=error.message))

    def run(self, record: RunRecord, state: RunState | None = None) -> Run:
        """What steps know of that run from now on; `state` are its records, if they were opened before."""
        state = state or self.state.open(record.id)
        self.world.run = Run(
            record.id,
            record.job,
            record.job_digest,
            record.git_commit,
            tools_seen(state.log(TOOLS)),
            execution=self.world.execution,
            break_locks=self.options.break_lock,
        )
        self.world.log = state.log
        return self.world.run

    def nodes(self, run: Run) -> tuple[Nodes, Resolver]:
        nodes = Nodes(self.job.steps, StepGraph(self.job.steps, self.registry), self.registry)
        return nodes, Resolver(self.job, nodes, self.world.identities(), run.id)

    def recorded(self, record: RunRecord) -> RecordedRun:
        """What the records of that run tell; to look into the world by it, `run` must have been called."""
        return RecordedRun(self.state.open(record.id), self.registry, self.world)

    def unwinding(self, recorded: RecordedRun) -> Unwinding:
        return Unwinding(recorded, self.world, self.options.command("sweep", self.job.file))

    def stands(self, record: RunRecord, recorded: RecordedRun) -> frozenset[str]:
        """The steps of an unfinished run that need no more work: all, once only the cleanup is left; once the
        run is committed (a crash, or a step behind the commit, kept it from being recorded), that step and
        all it depends on."""
        if record.phase == "unwinding":
            return frozenset(spec.id for spec in self.job.steps)
        step = self._committing
        if step is None or not recorded.is_committed():
            return frozenset()
        return frozenset({step, *StepGraph(self.job.steps, self.registry).ancestors(step)})

    def is_out(self, record: RunRecord, recorded: RecordedRun) -> bool:
        """Whether what the run holds is no longer needed."""
        return record.phase == "unwinding" or self.is_committed(recorded)

    def is_committed(self, recorded: RecordedRun) -> bool:
        """Whether the run's work is out in the world. Where several nodes of a job commit (one point for each
        of many VMs), one of them says nothing of the others."""
        return self._committing is not None and recorded.is_committed()

    @property
    def _committing(self) -> str | None:
        found = [spec for spec in self.job.steps if self.registry.steps[spec.uses].commits]
        return found[0].id if len(found) == 1 and not found[0].each else None

    def forget_old(self) -> None:
        """Of the runs that are remembered no longer, all: also their events, where these lie apart from the
        records."""
        known = self.state.forget_old()
        if self.state.host.local:
            return
        here, directory = LocalHost(), str(self.local / Path(self.state.directory).name)
        # The newest may be of a job of the same name with its state elsewhere, which may be running now.
        for name in sorted(filter(is_run_id, here.listdir(directory)))[:-KEPT_RUNS]:
            events = f"{directory}/{name}"
            # With a record they are of a time when the job kept its state here.
            if name not in known and not here.exists(f"{events}/run.json"):
                here.remove(events, recursive=True)

    def directory(self, run: str) -> Path:
        """Where the run's events lie: with its state where that is on this machine."""
        kept = Path(self.state.directory)
        return (kept if self.state.host.local else self.local / kept.name) / run


@contextmanager
def nothing_is_usage() -> Iterator[None]:
    """From here on something may have been changed: no error has the exit code that says that nothing was
    touched."""
    try:
        yield
    except UsageError as error:
        raise SendenseError(error.message) from error


@contextmanager
def open_workspace(
    path: Path, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]]
) -> Iterator[Workspace]:
    registry = Registry.installed()
    job = read_job(path, options, registry)
    bus = Bus()
    for listener in listeners:
        bus.subscribe(listener)
    with _scratch(bus) as scratch, World(job, bus, stop, scratch) as world:
        local = state_directory(options)
        place = job.state_place
        if place is None:
            state = JobState(LocalHost("local"), str(local), job.name)
        else:
            state = JobState(world.lasting_host(place.host), place.path, job.name, place.ready)
        yield Workspace(job, options, registry, bus, world, state, local)


@contextmanager
def context_outside_of_runs(
    job: Job, command: str, stop: threading.Event, listener: Callable[[Event], None]
) -> Iterator[Context]:
    """What a step may use, for a `command` that works on the job's hosts and entries in no run of it. What is
    opened ends with the block."""
    bus = Bus()
    bus.subscribe(listener)
    with _scratch(bus) as scratch, World(job, bus, stop, scratch) as world:
        world.run = Run(new_run_id(), job.name, job.digest, None, execution=world.execution)
        yield world.context(command)


@contextmanager
def _scratch(bus: Bus) -> Iterator[Path]:
    """What cannot be removed of it changes nothing of what came of the work."""
    with ExitStack() as stack:
        yield Path(stack.enter_context(temporary_directory()))
        try:
            stack.close()
        except SendenseError as error:
            bus.emit(Warned(node="the temporary directory", text=error.message))
