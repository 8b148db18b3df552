"""The step contract: three verbs and a lifetime, and the registry of kinds of steps.

    check(ctx, inputs, recorded) -> Out | None   changes nothing; what is there if the work is complete, by
    looking
    run(ctx, inputs, live) -> Out                does the difference
    undo(ctx, inputs, out)                       takes it back; absent is fine

A step's `with:` is split by its two models: fields of `In` are values and make the input digest; fields of
`Live` are references to PROCESS nodes (sockets, URIs) and count in the digest only by what those nodes are
*of*. `check` and `undo` see no `Live`.
"""

from __future__ import annotations

import enum
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import JsonValue, ValidationError

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel, Model
from runner.events.check_results import Observation
from runner.events.events import Event, NodeProgress, ToolSeen, Warned
from runner.events.step_report import Findings, Statement
from runner.hosts.held_lock import HeldLock
from runner.hosts.host import Child, Host
from runner.hosts.state_place import StatePlace
from runner.step.about import About
from runner.step.space import Space

TOOLS = "tools"
"""The log with the versions that a run saw: a resumed run did not see those of its earlier executions."""


class Lifetime(enum.Enum):
    KEEP = "keep"
    """Checkpointed; undone only on request (an image, a manifest)."""
    JOB = "job"
    """Checkpointed; undone at success, on abandon, or when it may be held no longer (a snapshot)."""
    PROCESS = "process"
    """Never checkpointed; opened when a node that is not done needs it, always closed (an exporter, a tunnel,
    a lock)."""


class Empty(JobModel):
    """No fields."""


class Given(Model):
    """The base of what a PROCESS step gives while it is open; such a value never enters a digest or a
    checkpoint."""


InT = TypeVar("InT", bound=JobModel)
LiveT = TypeVar("LiveT", bound=JobModel)
OutT = TypeVar("OutT", bound=Model)


@dataclass(frozen=True)
class Run:
    """One execution of a job. `id` reads 20261123T170000Z-3f9a0c1e."""

    id: str
    job: str
    job_digest: str
    git_commit: str | None
    tools: dict[str, str] = field(default_factory=dict, hash=False)
    """Versions of what it stands on, by name (``qemu on hub``), as far as they were seen."""
    execution: str = ""
    """Which process works on the run: at a resume it is another."""
    break_locks: bool = False
    """Whether to end the session of whoever holds a lock that this run needs."""
    discarded: frozenset[str] = frozenset()
    """The ids of runs that are given up before this one begins: for a plan, which still sees what they
    hold."""


class Log(Protocol):
    """A file that only grows; every append is durable when it returns."""

    path: str

    def read(self) -> bytes | None:
        """None if there is none."""

    def pieces(self) -> Iterator[bytes]:
        """Of what it holds, in order; none if there is none."""

    def append(self, content: bytes) -> None: ...

    def cut(self, length: int) -> None:
        """Keeps the first `length` bytes."""

    def remove(self) -> None:
        """Absent is fine."""


class Context:
    """What a step may use. One for each node; made by the executor and the planner."""

    def __init__(
        self,
        *,
        run: Run,
        node: str,
        emit: Callable[[Event], None],
        host: Callable[[str], Host],
        section: Callable[[str, str], Any],
        shared: Callable[[object, Callable[[], AbstractContextManager[Any]]], Any],
        scratch: Path,
        stop: threading.Event,
        unwind: Callable[[], tuple[str, ...]],
        log: Callable[[str], Log] | None = None,
        previous_failure: Mapping[str, object] | None = None,
        guards: list[HeldLock] | None = None,
    ) -> None:
        self.run = run
        self.node = node
        self.emit = emit
        self.host = host
        """The host of that name; raises UsageError for a name the job does not have."""
        self.section = section
        """``section("repositories", "main")``: that entry of the job's section, as its model."""
        self.shared = shared
        """``shared(key, factory)``: one object for the whole run, made at first use, closed at its end
        (sessions)."""
        self.scratch = scratch
        """A local 0700 directory of this node, removed when the run ends."""
        self.stop = stop
        self.unwind = unwind
        """Takes back the JOB nodes that are due; returns what was released. For the step that is the end of a
        job."""
        self._log = log
        self.previous_failure = previous_failure
        """`details` of the error with which this node failed before in this run."""
        self.closing = ExitStack()
        """PROCESS steps register here, before each act, how to take it back; closed in reverse. A start that
        fails half-way then leaves as little as one that ended."""
        self.children: list[Child] = []
        self.explains: list[Callable[[SendenseError], SendenseError]] = []
        """What a PROCESS node knows of the failure of a node that stands on it: each gets the error and
        returns it, or one that says more. Called while the processes are as the failure left them."""
        self.guards = guards if guards is not None else []
        """The locks without which nothing of this run is written on any host; a guard adds its own."""
        self.advanced = threading.Event()
        """Set by a step once a part of its work is durable: a later transient error is then not one in a
        row."""

    def log(self, name: str) -> Log:
        """A file of this run that only grows, beside its records: it outlives this process and is there at a
        resume."""
        assert self._log is not None, "this context is not of a run"
        return self._log(name)

    def start(self, host: Host, argv: Iterable[str]) -> Child:
        """A process on `host` that ends with this PROCESS node; the node is dead once such a child is."""
        child = host.popen(tuple(argv))
        self.closing.callback(child.stop)
        self.children.append(child)
        return child

    def hold(self) -> None:
        """Before what must not be done without the run's locks. Raises LockedError. What changes a host does
        it by itself."""
        for guard in tuple(self.guards):
            guard.hold()

    def check_stop(self) -> None:
        """Raises Interrupted once the run was told to stop."""
        if self.stop.is_set():
            raise Interrupted()

    def progress(
        self,
        label: str,
        phase: str,
        done: int,
        total: int | None,
        *,
        data: int = 0,
        zero: int = 0,
        skipped: int = 0,
        read: int | None = None,
        seconds: float | None = None,
        noun: str = "bytes",
    ) -> None:
        """See `NodeProgress`."""
        self.emit(
            NodeProgress(
                node=self.node,
                label=label,
                phase=phase,
                done=done,
                total=total,
                data=data,
                zero=zero,
                skipped=skipped,
                read=read,
                seconds=seconds,
                noun=noun,
            )
        )

    def uses(self, tool: str, version: str) -> None:
        """Tells the report and the manifest which version of a tool had a part in this run; as often as one
        likes."""
        if self.run.tools.get(tool) == version:
            return
        self.run.tools[tool] = version
        self.emit(ToolSeen(tool=tool, version=version))
        if self._log is not None:
            self.log(TOOLS).append(json.dumps([tool, version]).encode() + b"\n")

    def warn(self, text: str) -> None:
        self.emit(Warned(node=self.node, text=text))


class Step(ABC, Generic[InT, LiveT, OutT]):
    """A kind of work. The class docstring is what `sendense steps NAME` prints first; `example` is a line of
    a job."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the same inputs lead to another result: old records are then stale."""
    lifetime: ClassVar[Lifetime]
    In: ClassVar[type[JobModel]]
    Live: ClassVar[type[JobModel]] = Empty
    Out: ClassVar[type[Model]]
    example: ClassVar[str]
    errors: ClassVar[tuple[str, ...]] = ()
    """What it fails with, one sentence each, for the documentation."""
    read_only: ClassVar[bool] = False
    """`run` changes nothing: `plan` runs it too."""
    guard: ClassVar[bool] = False
    """A PROCESS step that protects all that changes something (a lock): opened before, closed after all of
    it. Its `probe` renews what broke, or raises why it cannot: one that is closed to be opened again protects
    nothing meanwhile."""

    commits: ClassVar[bool] = False
    """Once it is done, the work of its run is out in the world (a published restore point): abandoning the
    run takes nothing of it back but what it holds."""

    def check(self, ctx: Context, inputs: InT, recorded: OutT | None) -> OutT | None:
        """`recorded` is what this run recorded for the same inputs, None if it crashed before it could.
        Returns what is there if the work is complete (with a record: only if the world still agrees with it),
        else None."""
        return None

    @abstractmethod
    def run(self, ctx: Context, inputs: InT, live: LiveT) -> OutT: ...

    def undo(self, ctx: Context, inputs: InT, out: OutT) -> None:
        return None

    def begun(self, ctx: Context, inputs: InT) -> OutT | None:
        """What an act that was cut short may have left, for `undo` of a run that is abandoned. Changes
        nothing."""
        return None

    def sealed(self, ctx: Context, inputs: InT) -> bool:
        """Of a step that seals and may have been cut short: whether its work is out in the world. `run` then
        makes what it still lacks. Changes nothing."""
        return self.check(ctx, inputs, None) is not None

    def probe(self, ctx: Context, out: OutT) -> bool:
        """PROCESS: whether it still serves."""
        return all(child.poll() is None for child in ctx.children)

    def release_due(self, ctx: Context, inputs: InT, out: OutT) -> str | None:
        """JOB: after a failure, the reason why it may be held no longer; None while it may."""
        return None

    def held(self, ctx: Context, inputs: InT, out: OutT) -> str:
        """JOB and KEEP: what stays after a failure, in words; empty if not worth a line."""
        return ""

    def forecast(self, ctx: Context, inputs: InT) -> Forecast:
        """What `plan` can say of a node that will run, by looking; changes nothing."""
        return Forecast()

    def space(self, ctx: Context, inputs: InT) -> Space | None:
        """What is still to be written because of this node, for the sum that plan and run hold against what
        is free; None for nothing. Also of a node that is done, since its bytes may be another node's to
        write. Changes nothing."""
        return None

    def foresee(self, ctx: Context, inputs: InT) -> OutT | None:
        """What `run` would give, as far as that can be told by looking, so that the nodes behind this one can
        be examined before it ran; None if it cannot be told. Changes nothing."""
        return None

    def examine(self, ctx: Context, inputs: InT) -> tuple[Observation, ...]:
        """What this node stands on but does not make (programs, forwards, privileges). A new run looks at all
        of it before anything is changed and does not begin if something is wrong; `doctor` and `plan` show
        it. Changes nothing."""
        return ()

    def examine_early(self, ctx: Context, known: Mapping[str, Any]) -> tuple[Observation, ...]:
        """Of what `examine` looks at, all that does not hang on what comes before: for `doctor`, where that
        is in the way. `known` are the fields of `In` that the job file alone tells, and the defaults of those
        it leaves out."""
        return ()

    def about(self, told: Mapping[str, Any], out: OutT | None) -> tuple[About, ...]:
        """What of its settings a reviewer must see at the head of a plan. `told` are the fields of `In` that
        the job file alone tells, and the defaults of those it leaves out; `out` of a step that is read-only,
        if it was looked for this plan."""
        return ()

    def findings(self, out: OutT) -> Findings:
        """What the report and the last lines on a terminal say of this output; of nothing else, and without
        looking."""
        return Findings()


class Forecast(Model):
    """`size` in bytes where the node moves or makes bytes; `notes` are sentences; `problems` make the plan
    fail; `removes` names what would be deleted for good."""

    size: int | None = None
    removes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Section(JobModel):
    """The base of an entry of a section of the job file (`repositories: {main: …}`)."""

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        """For `doctor`: what is there behind the entry `name`. Changes nothing."""
        return ()

    def state_place(self) -> StatePlace | None:
        """Where records of runs lie if a job says ``state: {in: <section>.<entry>}``; None if it has no place
        for them."""
        return None


AnyStep = Step[Any, Any, Any]


class Registry:
    """The kinds of steps and sections that are installed, by the names used in YAML."""

    def __init__(self, steps: Mapping[str, AnyStep], sections: Mapping[str, type[Section]]) -> None:
        self.steps = dict(steps)
        self.sections = dict(sections)

    @classmethod
    def installed(cls) -> Registry:
        """From the entry-point groups `sendense.steps` (a Step class) and `sendense.sections` (a Section
        class)."""
        steps = {entry.name: entry.load()() for entry in entry_points(group="sendense.steps")}
        sections = {entry.name: entry.load() for entry in entry_points(group="sendense.sections")}
        return cls(dict(sorted(steps.items())), dict(sorted(sections.items())))

    def findings(self, step: str, output: Mapping[str, JsonValue]) -> Findings:
        """What `step` says of an output that was written down; nothing if no such step is installed (any
        more), and that it is not told where another version of the step wrote it."""
        if step not in self.steps:
            return Findings()
        try:
            out = self.steps[step].Out.from_json_value(dict(output))
        except ValidationError:
            text = f"What a step {step} gave was recorded by another version and is not told."
            return Findings(statements=(Statement(about="noted", text=text),))
        return self.steps[step].findings(out)


Outputs = Mapping[str, JsonValue]
