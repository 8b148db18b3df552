"""What a run would do, and why: job + observations → graph → plan. It does no I/O itself: all it knows of the
world comes through an `Observer`; with `Blind` it knows only the job file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, Protocol

from runner.base.errors import SendenseError
from runner.base.model import Model, dump_value
from runner.engine.checkpoint import NodeRecord
from runner.engine.difference import Difference
from runner.engine.freshness import STANDS, weigh, why_kept
from runner.engine.schedule import is_at_end
from runner.events.check_results import Observation
from runner.job.inputs import Inputs, Resolver, parse_out
from runner.job.nodes import Node, NodeId, Nodes
from runner.step.setting import Setting, merged
from runner.step.space import SpaceNeeded
from runner.step.step import Forecast

PLAN_SCHEMA_VERSION = 1

Action = Literal["run", "keep", "open", "idle", "unknown"]


class PlanNode(Model):
    """`action`: run; keep (its record stands); open (a process, as long as it is needed); idle (nothing needs
    it); unknown (cannot be told before a run). `size` in bytes."""

    id: str
    step: str
    lifetime: str
    action: Action
    why: str
    size: int | None = None
    removes: tuple[str, ...] = ()
    """Restore points, files …, by name, that would be deleted."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What a step that only looks warned of: what it found is not what it was."""
    problems: tuple[str, ...] = ()


class Plan(Model):
    """`edges` are pairs of node ids, what comes before first. `resumes`: the unfinished run that it would
    resume; `holder`: who works on the job now, so that no run would. `about`: the settings that a reviewer
    must see."""

    schema_version: int = PLAN_SCHEMA_VERSION
    job: str
    file: str
    offline: bool
    resumes: str | None
    holder: str | None = None
    about: tuple[Setting, ...] = ()
    nodes: tuple[PlanNode, ...]
    edges: tuple[tuple[str, str], ...]
    space: tuple[SpaceNeeded, ...] = ()
    """What is still to be written, against what is free, for each place."""
    notes: tuple[str, ...] = ()
    """What is to be said of the job file that is no mistake."""
    against: Difference | None = None
    """From another version of the job, where that was asked for."""

    def with_observations(self, seen: Iterable[tuple[str, Observation]]) -> Plan:
        """What an examination found, by node id: what is good is not worth a word here. A list that is not
        known yet is a node of its own, ``image[…]``."""
        nodes = {node.id: node for node in self.nodes}
        for name, one in seen:
            node = nodes.get(name)
            if node is None:
                name = f"{name.partition('[')[0]}[…]"
                node = nodes.get(name)
            if node is None or node.action in ("keep", "idle") or one.state == "good":
                continue
            field = "notes" if one.state == "noted" else "problems"
            told: tuple[str, ...] = getattr(node, field)
            if one.sentence not in told and one.found not in told:
                nodes[name] = node.model_copy(update={field: (*told, one.sentence)})
        return self.model_copy(update={"nodes": tuple(nodes.values())})

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{node.id}: {warning}" for node in self.nodes for warning in node.warnings)

    @property
    def problems(self) -> tuple[str, ...]:
        """Each once, behind the nodes that meet it: many stand on one host. Then what does not fit."""
        met: dict[str, list[str]] = {}
        for node in self.nodes:
            for problem in node.problems:
                met.setdefault(problem, []).append(node.id)
        lacking = (needed.problem for needed in self.space)
        return (
            *(f"{', '.join(nodes)}: {problem}" for problem, nodes in met.items()),
            *(problem for problem in lacking if problem is not None),
        )


class Observer(Protocol):
    """The world, asked without changing it. Each may raise SendenseError."""

    offline: bool

    def look(self, node: Node, inputs: Inputs) -> tuple[Model, tuple[str, ...]]:
        """The output of a step that is read-only, and what it warned of."""

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None: ...

    def forecast(self, node: Node, inputs: Inputs) -> Forecast: ...

    def due(self, node: Node, record: NodeRecord) -> str | None:
        """Why what the JOB node of `record` holds is let go of."""


class Blind:
    """Knows nothing beyond the job file."""

    offline = True

    def look(self, node: Node, inputs: Inputs) -> tuple[Model, tuple[str, ...]]:
        raise AssertionError("a plan that is offline does not look")

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None:
        return None

    def forecast(self, node: Node, inputs: Inputs) -> Forecast:
        return Forecast()

    def due(self, node: Node, record: NodeRecord) -> str | None:
        return None


class Planner:
    def __init__(
        self,
        nodes: Nodes,
        resolver: Resolver,
        records: dict[NodeId, NodeRecord],
        observer: Observer,
        *,
        stands: Collection[str] = (),
    ) -> None:
        self._nodes = nodes
        self._resolver = resolver
        self._records = records
        self._observer = observer
        self._stands = stands
        self._planned: dict[NodeId, PlanNode] = {}
        self._abstract: list[PlanNode] = []

    def plan(self, job: str, file: str, resumes: str | None) -> Plan:
        for step in self._nodes.order:
            scope = self._resolver.each_scope(step)
            if scope is None:
                self._abstract.append(self._unexpanded(step))
                continue
            for node in self._nodes.expand(step, scope):
                if not node.is_process:
                    self._planned[node.id] = self._of(node)
        users = self._users()
        for node in self._nodes.all():
            if node.is_process:
                self._planned[node.id] = self._of_process(node, users.get(node.id, []))
        return Plan(
            job=job,
            file=file,
            offline=self._observer.offline,
            resumes=resumes,
            about=merged(self._about()),
            nodes=self._in_order(),
            edges=self._edges(),
        )

    def _about(self) -> Iterator[Setting]:
        for step in self._nodes.order:
            kind = self._nodes.kind(step)
            # Of one that fans out, each node has an output of its own.
            looked = self._resolver.outputs.get(NodeId(step)) if kind.read_only else None
            out = None if looked is None else parse_out(kind.Out, looked, step)
            yield from kind.settings(self._resolver.told_values(step), out)

    def _in_order(self) -> tuple[PlanNode, ...]:
        abstract = {node.id.partition("[")[0]: node for node in self._abstract}
        found: list[PlanNode] = []
        for step in self._nodes.order:
            if step in abstract:
                found.append(abstract[step])
            found.extend(self._planned[node.id] for node in self._nodes.of_step.get(step, ()))
        return tuple(found)

    def _edges(self) -> tuple[tuple[str, str], ...]:
        names = {node.id.partition("[")[0]: node.id for node in self._abstract}
        edges = list(self._nodes.edges())
        for step in self._nodes.order:
            for before in self._nodes.step_predecessors(step):
                if step in names or before in names:
                    firsts = [names[before]] if before in names else self._ids(before)
                    seconds = [names[step]] if step in names else self._ids(step)
                    edges.extend((first, second) for first in firsts for second in seconds)
        return tuple(edges)

    def _ids(self, step: str) -> list[str]:
        return [str(node.id) for node in self._nodes.of_step.get(step, ())]

    def _unexpanded(self, step: str) -> PlanNode:
        spec, kind = self._nodes.spec(step), self._nodes.kind(step)
        sources = ", ".join(sorted(self._nodes.sources_of_each(step)))
        return PlanNode(
            id=f"{step}[…]",
            step=spec.uses,
            lifetime=kind.lifetime.value,
            action="unknown",
            why=f"one for each {' and '.join(variable for variable, _ in spec.each)}, known after {sources}",
        )

    def _of(self, node: Node) -> PlanNode:
        waiting = self._resolver.unknown(node)
        record = self._records.get(node.id)
        stands = node.id.step in self._stands and not is_at_end(node)
        if stands and record is not None and record.state == "done":
            self._resolver.know(node, record.out, record.acts)
            return self._node(node, "keep", STANDS)
        if self._observer.offline:
            return self._node(
                node, "run" if not waiting else "unknown", _after(waiting) or "offline: nothing was looked at"
            )
        if waiting:
            return self._node(node, "run", _after(waiting))
        try:
            return self._known(node, record)
        except SendenseError as error:
            return self._node(node, "run", "it could not be looked at", Forecast(problems=(str(error),)))

    def _known(self, node: Node, record: NodeRecord | None) -> PlanNode:
        inputs = self._resolver.inputs(node)
        weighing = weigh(record, inputs, node.step.version)
        due = self._observer.due(node, record) if record is not None and weighing.ask == "recorded" else None
        if due:
            return self._node(node, "run", due, self._observer.forecast(node, inputs))
        if weighing.ask != "no":
            recorded = (
                None
                if weighing.recorded is None
                else parse_out(node.step.Out, weighing.recorded, str(node.id))
            )
            found = self._observer.check(node, inputs, recorded)
            if found is not None:
                self._resolver.know(node, dump_value(found), 1 if record is None else record.acts)
                return self._node(node, "keep", why_kept(weighing))
        forecast = self._observer.forecast(node, inputs)
        if node.step.read_only:
            out, told = self._observer.look(node, inputs)
            self._resolver.know(node, dump_value(out), 1)
            noted = (one.text.rstrip(".") for one in node.step.report(out).statements if one.about == "noted")
            seen = forecast.model_copy(update={"notes": (*forecast.notes, *noted)})
            planned = self._node(node, "run", "only looks; looked for this plan", seen)
            return planned.model_copy(update={"warnings": told})
        return self._node(node, "run", weighing.why, forecast)

    def _users(self) -> dict[NodeId, list[Node]]:
        """PROCESS node → the nodes that need it, also through other PROCESS nodes."""
        users: dict[NodeId, list[Node]] = {}
        for node in self._nodes.all():
            for process in self._nodes.processes_under(node) if not node.is_process else ():
                users.setdefault(process.id, []).append(node)
        return users

    def _of_process(self, node: Node, users: list[Node]) -> PlanNode:
        busy = [other for other in users if self._planned[other.id].action != "keep"]
        if users and not busy:
            return self._node(node, "idle", "all that need it are done")
        forecast = Forecast()
        if not self._observer.offline and not self._resolver.unknown(node):
            try:
                forecast = self._observer.forecast(node, self._resolver.inputs(node))
            except SendenseError as error:
                forecast = Forecast(problems=(str(error),))
        if node.step.guard:
            return self._node(node, "open", "held while the run lives", forecast)
        needed = ", ".join(str(other.id) for other in busy[:2]) + (" …" if len(busy) > 2 else "")
        return self._node(node, "open", f"for {needed}" if busy else "in case a node needs it", forecast)

    def _node(self, node: Node, action: Action, why: str, forecast: Forecast | None = None) -> PlanNode:
        forecast = forecast or Forecast()
        return PlanNode(
            id=str(node.id),
            step=node.step.name,
            lifetime=node.step.lifetime.value,
            action=action,
            why=why,
            size=forecast.size,
            removes=forecast.removes,
            notes=forecast.notes,
            problems=forecast.problems,
        )


def _after(waiting: tuple[str, ...]) -> str:
    return f"after {', '.join(waiting)}" if waiting else ""
