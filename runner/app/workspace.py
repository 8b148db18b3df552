"""All that is needed to work on one job: the file that was read, the state, the world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.app.options import PICTURES, Options, read_job, state_directory
from runner.app.outside import scratch_of
from runner.app.records import own_versions
from runner.base.errors import SendenseError, UsageError
from runner.engine.checkpoint import RunRecord, RunState
from runner.engine.job_state import KEPT_RUNS, JobState, is_run_id
from runner.engine.recorded import RecordedRun
from runner.engine.teardown import Unwinding
from runner.engine.world import World
from runner.events.events import Bus, Event, Warned
from runner.hosts.local import LocalHost
from runner.hosts.state_place import StatePlace
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.model import LOCAL, Job
from runner.job.nodes import Nodes
from runner.step.context import Run
from runner.step.registry import Registry


@dataclass
class Workspace:
    """All that is needed to work on one job: made by `open_workspace`, good while that is open."""

    job: Job
    options: Options
    registry: Registry
    bus: Bus
    world: World
    state: JobState
    place: StatePlace
    """Where its records lie beside those of others."""
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
        """What steps know of that run from now on; `state` are its records, of a run that is executed: they
        tell which tools its earlier executions saw."""
        seen = {} if state is None else state.tools()
        state = state or self.state.open(record.id)
        self.world.run = Run(
            record.id,
            record.job,
            record.job_digest,
            record.git_commit,
            seen | own_versions(),
            execution=self.world.execution,
            break_locks=self.options.break_lock,
        )
        self.world.log = state.log
        self.world.pictures = self.directory(record.id) / PICTURES
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
    job: Path | Job, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]]
) -> Iterator[Workspace]:
    registry = Registry.installed()
    job = read_job(job, options, registry)
    bus = Bus()
    for listener in listeners:
        bus.subscribe(listener)
    with scratch_of(bus) as scratch, World(job, bus, stop, scratch, options.hosts) as world:
        local = state_directory(options)
        place = job.state_place or StatePlace(LOCAL, str(local))
        # This machine's own needs no connection of the job's.
        host = LocalHost(LOCAL) if job.state_place is None else world.lasting_host(place.host)
        state = JobState(host, place.path, job.key, place.ready)
        yield Workspace(job, options, registry, bus, world, state, place, local)
