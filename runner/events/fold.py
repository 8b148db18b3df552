"""Events → summary.

A run's outcome is the fold of its nodes' terminal states: an engine that says "done" while a node failed or
never ended is not believed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

from runner.base.errors import Interrupted
from runner.events.events import (
    Event,
    GraphKnown,
    Held,
    NodeFailed,
    NodeFinished,
    NodeKept,
    NodeProgress,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeUndone,
    RunFinished,
    RunStarted,
    ToolSeen,
    UndoFailed,
    Warned,
)
from runner.events.flow import Flow, throughput
from runner.events.journal import Thinning
from runner.events.outcomes import RunOutcome
from runner.events.step_report import Cell, Command, ReportOf, StepReport
from runner.events.summary import Earlier, NodeSummary, RunSummary, Table


class Fold:
    """Takes events one by one; its nodes and flows may be read at any time between two."""

    def __init__(self, report_of: ReportOf) -> None:
        self._report_of = report_of
        self.earlier: tuple[Earlier, ...] = ()
        self._warnings: dict[tuple[str, str], Warned] = {}
        self._begin(None)

    def _begin(self, started: RunStarted | None) -> None:
        """Of a resumed run nothing counts but its own events; only warnings are kept, see `RunSummary`."""
        self.started = started
        self.finished: RunFinished | None = None
        self.last: datetime | None = started.at if started else None
        self.nodes: dict[str, NodeSummary] = {}
        self.edges: tuple[tuple[str, str], ...] = ()
        self.flows: dict[tuple[str, str, str], Flow] = {}
        self.held: list[Held] = []
        self.undo_failures: list[UndoFailed] = []
        self.tools: dict[str, str] = dict(started.tools) if started else {}
        self._thin = Thinning()

    def add(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            if self.started is not None:
                self.earlier = (*self.earlier, self._as_earlier(self.started))
            self._begin(event)
        self.last = event.at
        # The curve of a night is made of what a journal would keep: several hundred events a second are not.
        for kept in self._thin(event):
            if isinstance(kept, NodeProgress):
                self._flow(kept).sample(kept)
        match event:
            case NodeProgress():
                self._flow(event).add(event)
            case GraphKnown():
                known = {node: self._node(node) for node in event.nodes}
                # What an older graph had and has a story of its own is told all the same.
                self.nodes = known | {
                    name: node for name, node in self.nodes.items() if name not in known and node.step
                }
                self.edges = event.edges
            case Held():
                self.held.append(event)
            case ToolSeen():
                self.tools[event.tool] = event.version
            case Warned():
                # Said again, by a resumed run, it stands where it was said last.
                self._warnings.pop((event.node, event.text), None)
                self._warnings[event.node, event.text] = event
            case UndoFailed():
                self.undo_failures.append(event)
            case RunFinished():
                self.finished = event
            case _:
                self._node_event(event)

    def _node_event(self, event: Event) -> None:
        match event:
            case NodeStarted():
                known = self._node(event.node)
                self._set(
                    event.node,
                    step=event.step,
                    lifetime=event.lifetime,
                    state="running",
                    why=event.why,
                    started=known.started or event.at,
                    error=None,
                    undone=None,
                )
            case NodeKept():
                self._set(event.node, step=event.step, state="kept", why=event.why, output=event.output)
            case NodeRetrying():
                self._set(event.node, retried=(*self._node(event.node).retried, event.error))
            case NodeFinished():
                self._set(
                    event.node, step=event.step, state="done", seconds=event.seconds, output=event.output
                )
            # The user stopped the run: a node that was stopped is no failure of its own.
            case NodeFailed(exit_code=Interrupted.exit_code):
                self._set(event.node, step=event.step, state="stopped", seconds=event.seconds)
            case NodeFailed():
                self._set(
                    event.node,
                    step=event.step,
                    state="failed",
                    seconds=event.seconds,
                    error=event.error,
                    fix_first=event.fix_first,
                    shared=event.shared,
                )
            case NodeSkipped():
                self._set(event.node, step=event.step, state="skipped", why=event.because)
            case NodeUndone():
                self._set(event.node, step=event.step, lifetime=event.lifetime, undone=event.why)

    def _node(self, node: str) -> NodeSummary:
        return self.nodes.get(node) or NodeSummary(node=node)

    def _set(self, node: str, **changes: object) -> None:
        self.nodes[node] = self._node(node).model_copy(update=changes)

    def _flow(self, event: NodeProgress) -> Flow:
        return self.flows.setdefault((event.node, event.label, event.phase), Flow(event))

    def _as_earlier(self, started: RunStarted) -> Earlier:
        finished = self.finished
        errors = (f"{node.node}: {node.error}" for node in self.nodes.values() if node.error)
        return Earlier(
            started=started.at,
            ended=finished.at if finished else None,
            outcome=self.outcome,
            error=(finished.error if finished else None) or next(errors, None),
        )

    @property
    def warnings(self) -> tuple[Warned, ...]:
        return tuple(self._warnings.values())

    @property
    def outcome(self) -> RunOutcome:
        if self.finished is None:
            return "unfinished"
        said = self.finished.outcome
        if said not in ("done", "alarm"):
            return said
        if any(node.state in ("failed", "running") for node in self.nodes.values()):
            return "failed"
        if self.undo_failures:
            return "unwind-failed"
        return "alarm" if self.finished.exit_code else said

    def summary(self) -> RunSummary:
        """Raises ValueError if no run has started."""
        if self.started is None or self.last is None:
            raise ValueError("these events have no start of a run")
        outcome, finished = self.outcome, self.finished
        again = self.started.resume or shlex.join(("sendense", "run", self.started.job_file))
        reports = self._reports()
        return RunSummary(
            run=self.started.run,
            job=self.started.job,
            job_file=self.started.job_file,
            files=self.started.files,
            settings=self.started.settings,
            git_commit=self.started.git_commit,
            by=self.started.by,
            resumed=self.started.resumed,
            resume_command=None if outcome in ("done", "alarm") else again,
            tools=dict(self.tools),
            started=self.started.at,
            ended=self.last,
            seconds=finished.seconds if finished else (self.last - self.started.at).total_seconds(),
            outcome=outcome,
            exit_code=None if finished is None else finished.exit_code or (0 if outcome == "done" else 1),
            error=finished.error if finished else None,
            earlier=self.earlier,
            nodes=tuple(_ended(node, outcome, reports.get(node.node)) for node in self.nodes.values()),
            edges=self.edges,
            undo_failures=tuple(self.undo_failures),
            held=tuple(self.held),
            warnings=self.warnings,
            flows=tuple(flow.summary() for flow in self.flows.values()),
            throughput=throughput(self.flows.values(), self.started.at, self.last),
            tables=_tables(reports.values()),
            statements=tuple(statement for report in reports.values() for statement in report.statements),
            commands=tuple(
                _of_job(command, self.started.job_file)
                for report in reports.values()
                for command in report.commands
            ),
            results=tuple(report.result for report in reports.values() if report.result is not None),
            alarms=tuple(report.alarm for report in reports.values() if report.alarm is not None),
        )

    def _reports(self) -> dict[str, StepReport]:
        """By node."""
        found = {}
        for node in self.nodes.values():
            if not node.output:
                continue
            report = self._report_of(node.step, node.output)
            if node.undone is not None:  # what it made is gone; what it saw is not
                stands = tuple(each for each in report.statements if each.about != "made")
                report = StepReport(
                    rows=report.rows, statements=stands, pictures=report.pictures, alarm=report.alarm
                )
            found[node.node] = report
        return found


def fold(events: Iterable[Event], report_of: ReportOf) -> RunSummary:
    """The summary of the last attempt in `events`; the earlier ones are in its `earlier`."""
    folding = Fold(report_of)
    for event in events:
        folding.add(event)
    return folding.summary()


def _ended(node: NodeSummary, outcome: RunOutcome, report: StepReport | None) -> NodeSummary:
    if report is not None and report.pictures:
        node = node.model_copy(update={"pictures": report.pictures})
    alarm = None if report is None else report.alarm
    if node.state == "waiting" and outcome in ("done", "alarm", "unwind-failed"):
        return node.model_copy(update={"state": "unneeded", "why": "no longer needed"})
    if alarm is not None:
        state = "alarm" if node.state in ("done", "kept") else node.state
        return node.model_copy(update={"state": state, "alarm": alarm.text})
    return node


def _of_job(command: Command, job_file: str) -> Command:
    line = command.line.replace(" JOB ", f" {shlex.quote(job_file)} ")
    return command.model_copy(update={"line": line})


def _tables(reports: Iterable[StepReport]) -> tuple[Table, ...]:
    lines: dict[str, dict[str, dict[str, Cell]]] = {}
    for report in reports:
        for row in report.rows:
            lines.setdefault(row.table, {}).setdefault(row.key, {}).update(row.cells)
    return tuple(_table(title, rows) for title, rows in lines.items())


def _table(title: str, rows: Mapping[str, dict[str, Cell]]) -> Table:
    columns = dict.fromkeys(column for cells in rows.values() for column in cells)
    return Table(title=title, columns=tuple(columns), rows=tuple(rows.items()))
