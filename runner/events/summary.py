"""A run as one value: what a report, a status line or a program wants to know of it. `fold` makes it."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from runner.base.model import Model
from runner.events.events import Held, UndoFailed, Warned
from runner.events.flow import FlowSummary, Throughput
from runner.events.outcomes import NodeState, RunOutcome
from runner.events.result import Result
from runner.events.step_report import Alarm, Cell, Command, Picture, Statement


class NodeSummary(Model):
    node: str
    step: str = ""
    """The kind of step; empty while the node has not been reached."""
    lifetime: str = ""
    state: NodeState = "waiting"
    why: str = ""
    """Why it ran, was kept or was skipped."""
    started: datetime | None = None
    seconds: float | None = None
    retried: tuple[str, ...] = ()
    """The errors after which it was tried again."""
    error: str | None = None
    fix_first: bool = False
    """Running again cannot help before somebody has changed something, which `error` says."""
    shared: str = ""
    """The cause of `error`, where other runs would fail of the same now."""
    alarm: str | None = None
    """What it found that somebody must look at; its work is done."""
    undone: str | None = None
    """Why it was closed or rolled back; None while it stands."""
    output: dict[str, JsonValue] = {}
    pictures: tuple[Picture, ...] = ()


class Earlier(Model):
    """An attempt at the same run before this one; `ended` is None if it was killed."""

    started: datetime
    ended: datetime | None
    outcome: RunOutcome
    error: str | None


class Table(Model):
    """`rows` pair a key with its cells by column; a cell that nobody knew is absent."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, dict[str, Cell]], ...]


class RunSummary(Model):
    run: str
    job: str
    job_file: str
    files: dict[str, str]
    settings: dict[str, str]
    git_commit: str | None
    by: str
    resumed: bool
    resume_command: str | None
    """None where there is nothing to resume."""
    tools: dict[str, str]
    started: datetime
    ended: datetime
    """The last event's time where the run has no end."""
    seconds: float
    outcome: RunOutcome
    exit_code: int | None
    error: str | None
    earlier: tuple[Earlier, ...]
    nodes: tuple[NodeSummary, ...]
    edges: tuple[tuple[str, str], ...]
    undo_failures: tuple[UndoFailed, ...]
    held: tuple[Held, ...]
    warnings: tuple[Warned, ...]
    """Of earlier attempts too: what they kept is part of the result."""
    flows: tuple[FlowSummary, ...]
    throughput: Throughput
    tables: tuple[Table, ...]
    statements: tuple[Statement, ...]
    commands: tuple[Command, ...]
    results: tuple[Result, ...]
    alarms: tuple[Alarm, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """In the order of the nodes."""
        return tuple(picture for node in self.nodes for picture in node.pictures)
