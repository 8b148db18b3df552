"""What happens during a run, as values. The engine emits them; reports, consoles and events.jsonl are made of
them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from runner.base.model import Model

EVENTS_SCHEMA_VERSION = 1


class Event(Model):
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    child: str = Field(default="", exclude=True)
    """In a file with the events of many jobs: which one's it is."""


class RunStarted(Event):
    type: Literal["run-started"] = "run-started"
    schema_version: int = EVENTS_SCHEMA_VERSION
    run: str
    job: str
    resumed: bool
    job_file: str
    job_digest: str
    files: dict[str, str] = {}
    """SHA-256 of each file that the job was read from, the template too."""
    settings: dict[str, str] = {}
    """What ``--set`` gave."""
    git_commit: str | None = None
    by: str = ""
    """Who runs it where: ``backup@ci-3``."""
    resume: str | None = None
    """The command line that resumes this run."""
    tools: dict[str, str] = {}
    """Versions by name, as far as they are known; of the others a `ToolSeen` tells."""


class GraphKnown(Event):
    """The nodes known so far, in order; emitted again when an `each` fanned out."""

    type: Literal["graph-known"] = "graph-known"
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


class NodeKept(Event):
    """The node's record stands: it does not run."""

    type: Literal["node-kept"] = "node-kept"
    node: str
    step: str
    why: str
    output: dict[str, JsonValue]


class NodeStarted(Event):
    type: Literal["node-started"] = "node-started"
    node: str
    step: str
    lifetime: str
    why: str
    attempt: int = 1


class NodeProgress(Event):
    """What is *completed*, bytes unless `noun` says what else; data + zero + skipped = done; `total` is None
    where unknown.

    `read`: bytes that came from what is read, which a speed is counted of; None: all of `done`, but what was
    zero or skipped. `seconds`: that this attempt took so far, by the clock of the host that works."""

    type: Literal["node-progress"] = "node-progress"
    node: str
    label: str
    phase: str
    done: int
    total: int | None
    data: int = 0
    zero: int = 0
    skipped: int = 0
    noun: str = "bytes"
    read: int | None = None
    seconds: float | None = None


class NodeRetrying(Event):
    type: Literal["node-retrying"] = "node-retrying"
    node: str
    error: str
    wait: float
    attempt: int


class NodeFinished(Event):
    type: Literal["node-finished"] = "node-finished"
    node: str
    step: str
    seconds: float
    output: dict[str, JsonValue]


class NodeFailed(Event):
    type: Literal["node-failed"] = "node-failed"
    node: str
    step: str
    seconds: float
    error: str
    exit_code: int
    fix_first: bool = False
    """Running again cannot help before somebody has changed something."""
    shared: str = ""
    """The cause, where other runs would fail of the same now: `SendenseError.shared`."""


class NodeSkipped(Event):
    type: Literal["node-skipped"] = "node-skipped"
    node: str
    step: str
    because: str


class NodeUndone(Event):
    """A PROCESS node was closed, or a JOB node rolled back."""

    type: Literal["node-undone"] = "node-undone"
    node: str
    step: str
    lifetime: str
    why: str


class UndoFailed(Event):
    type: Literal["undo-failed"] = "undo-failed"
    node: str
    step: str
    error: str


class Held(Event):
    """Something stays after the run; `command` releases it."""

    type: Literal["held"] = "held"
    node: str
    what: str
    command: str


class ToolSeen(Event):
    """`tool` has a part in this run: ``nbdkit on node``, ``libnbd``."""

    type: Literal["tool-seen"] = "tool-seen"
    tool: str
    version: str


class Warned(Event):
    type: Literal["warned"] = "warned"
    node: str
    text: str


class RunFinished(Event):
    """`outcome`: done; alarm, done and something was found that somebody must look at; failed; unwind-failed;
    interrupted."""

    type: Literal["run-finished"] = "run-finished"
    run: str
    outcome: Literal["done", "alarm", "failed", "unwind-failed", "interrupted"]
    exit_code: int
    seconds: float
    error: str | None = None


AnyEvent = Annotated[
    RunStarted
    | GraphKnown
    | NodeKept
    | NodeStarted
    | NodeProgress
    | NodeRetrying
    | NodeFinished
    | NodeFailed
    | NodeSkipped
    | NodeUndone
    | UndoFailed
    | Held
    | ToolSeen
    | Warned
    | RunFinished,
    Field(discriminator="type"),
]


class Bus:
    """Hands each event to every listener, one at a time, in the order of `emit`; safe from any thread."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._lock = threading.RLock()

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        with self._lock:
            for listener in self._listeners:
                listener(event)
