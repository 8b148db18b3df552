"""What a run would do, and why: a walk over the nodes → plan. Pure: whether the walk asks the world is left
to its observer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from runner.base.model import Model
from runner.engine.difference import Difference
from runner.engine.walk import Visit
from runner.job.nodes import Node, NodeId, Nodes
from runner.step.decision import Decision
from runner.step.setting import Setting, merged
from runner.step.space import Space, SpaceNeeded, summed
from runner.step.step import Lifetime

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
    decided: tuple[Decision, ...] = ()
    """What a saved plan holds of it."""
    removes: tuple[str, ...] = ()
    """Restore points, files …, by name, that would be deleted."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What a read-only step warned of: what it found is not what it was."""
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
    each: str = ""
    """Of a set: what it makes one such run for."""
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

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{node.id}: {warning}" for node in self.nodes for warning in node.warnings)

    @property
    def problems(self) -> tuple[str, ...]:
        """Each once, behind the nodes that meet it: many depend on one host. Then what does not fit."""
        met: dict[str, list[str]] = {}
        for node in self.nodes:
            for problem in node.problems:
                met.setdefault(problem, []).append(node.id)
        lacking = (needed.problem for needed in self.space)
        return (
            *(f"{', '.join(nodes)}: {problem}" for problem, nodes in met.items()),
            *(problem for problem in lacking if problem is not None),
        )


class Planner:
    """Draws the plan from a walk over all nodes."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._planned: dict[str, PlanNode] = {}
        """By id, in the order of the nodes."""
        self._unlisted: dict[str, str] = {}
        """The one id that stands for all nodes of a step, by step."""
        self._settings: list[Setting] = []
        self._space: list[Space] = []

    def plan(
        self, visits: Iterable[Visit], job: str, file: str, resumes: str | None, *, offline: bool
    ) -> Plan:
        for visit in visits:
            planned = (
                _unlisted(visit, self._nodes) if visit.node is None else _planned(visit, offline=offline)
            )
            if visit.node is None:
                self._unlisted[visit.step] = planned.id
            self._planned[planned.id] = planned
            self._settings += visit.found.settings
            if visit.found.space is not None:
                self._space.append(visit.found.space)
        self._open_processes()
        return Plan(
            job=job,
            file=file,
            offline=offline,
            resumes=resumes,
            about=merged(self._settings),
            nodes=tuple(self._planned.values()),
            edges=self._edges(),
            space=summed(self._space),
        )

    def _open_processes(self) -> None:
        """What becomes of a PROCESS node hangs on those that need it, which come after it."""
        users = self._users()
        for node in self._nodes.all():
            if node.is_process:
                name = str(node.id)
                self._planned[name] = self._of_process(node, self._planned[name], users.get(node.id, []))

    def _users(self) -> dict[NodeId, list[Node]]:
        """PROCESS node → the nodes that need it, also through other PROCESS nodes."""
        users: dict[NodeId, list[Node]] = {}
        for node in self._nodes.all():
            for process in self._nodes.processes_under(node) if not node.is_process else ():
                users.setdefault(process.id, []).append(node)
        return users

    def _of_process(self, node: Node, planned: PlanNode, users: list[Node]) -> PlanNode:
        busy = [str(other.id) for other in users if self._planned[str(other.id)].action != "keep"]
        if users and not busy:
            return _bare(planned).model_copy(
                update={"action": "idle", "why": ("all nodes that need it are done")}
            )
        if node.step.guard:
            return planned.model_copy(update={"why": "held while the run is active"})
        needed = ", ".join(busy[:2]) + (" …" if len(busy) > 2 else "")
        return planned.model_copy(update={"why": f"for {needed}" if busy else "in case a node needs it"})

    def _edges(self) -> tuple[tuple[str, str], ...]:
        names = self._unlisted
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


def _unlisted(visit: Visit, nodes: Nodes) -> PlanNode:
    spec = nodes.spec(visit.step)
    sources = ", ".join(sorted(nodes.sources_of_each(visit.step)))
    return PlanNode(
        id=f"{visit.step}[…]",
        step=spec.uses,
        lifetime=visit.kind.lifetime.value,
        action="unknown",
        why=f"one for each {' and '.join(variable for variable, _ in spec.each)}, known after {sources}",
    )


def _planned(visit: Visit, *, offline: bool) -> PlanNode:
    found, standing = visit.found, visit.standing
    planned = PlanNode(
        id=visit.name,
        step=visit.kind.name,
        lifetime=visit.kind.lifetime.value,
        action="keep" if standing.kept else _action(visit, offline=offline),
        why=standing.why,
        warnings=visit.warnings,
        decided=found.decisions,
    )
    if standing.kept:
        return planned
    errors = [error for error in (standing.error, visit.error) if error is not None]
    said = [str(error) for error in errors]
    # Of what is only foreseen, what speaks against it is told: sizes and files are those of the run.
    notes = [] if visit.waiting else [*found.notes, *_noted(visit)]
    problems = said if visit.waiting else [*said, *found.problems]
    problems += [] if found.locked is None else [str(found.locked)]
    for one in found.observations:
        told = {"noted": notes, "wrong": problems, "good": None}[one.state]
        if told is not None and one.sentence not in told and one.found not in told:
            told.append(one.sentence)
    why = standing.why
    if not visit.waiting:
        why = "it could not be checked" if errors else "read-only; evaluated now" if visit.out else why
    return planned.model_copy(
        update={
            "why": why,
            "notes": tuple(notes),
            "problems": tuple(dict.fromkeys(problems)),
            "size": None if visit.waiting else found.size,
            "removes": () if visit.waiting else found.removes,
        }
    )


def _bare(node: PlanNode) -> PlanNode:
    """Without what was found of it."""
    return PlanNode(id=node.id, step=node.step, lifetime=node.lifetime, action=node.action, why=node.why)


def _action(visit: Visit, *, offline: bool) -> Action:
    if visit.kind.lifetime is Lifetime.PROCESS:
        return "open"
    return "unknown" if offline and visit.waiting else "run"


def _noted(visit: Visit) -> list[str]:
    """What a step that was run for the plan says that one must know."""
    statements = () if visit.out is None else visit.kind.report(visit.out).statements
    return [one.text.rstrip(".") for one in statements if one.about == "noted"]
