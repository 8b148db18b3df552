"""Nodes: a step of the job at one key of its `each`. Which there are is known as lists become known; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.job.expressions import ExpressionError, evaluate, references
from runner.job.graph import StepGraph
from runner.job.model import KEY_FIELDS, StepSpec
from runner.job.problems import one_of
from runner.step.registry import Registry
from runner.step.step import AnyStep, Lifetime

KeyPart = int | str


@dataclass(frozen=True)
class NodeId:
    """``image[2000]``: a step and the keys of the elements it is for."""

    step: str
    key: tuple[KeyPart, ...] = ()

    def __str__(self) -> str:
        return f"{self.step}[{','.join(str(part) for part in self.key)}]" if self.key else self.step

    @property
    def file_name(self) -> str:
        """Safe in any directory, and different for different nodes: keys may be any text."""
        # With its type: the number 1 and the text "1" are different nodes, and must not share a file.
        key = ",".join(
            ("i" if isinstance(part, int) else "s") + quote(str(part), safe="") for part in self.key
        )
        if len(key) > 120:  # file systems take 255 bytes
            key = hashlib.sha256(key.encode()).hexdigest()[:32]
        return f"{self.step}[{key}]" if self.key else self.step


@dataclass(frozen=True)
class Node:
    id: NodeId
    spec: StepSpec
    step: AnyStep
    variables: Mapping[str, JsonValue] = field(compare=False, hash=False)
    """The `each` variables of this node."""

    @property
    def is_process(self) -> bool:
        return self.step.lifetime is Lifetime.PROCESS


class StepValueError(SendenseError):
    """A value that is known only now is none that its step can take. Names where the step stands."""

    fix_first = True

    def __init__(self, spec: StepSpec, message: str) -> None:
        super().__init__(str(spec.location.problem(message)))


def key_of(element: JsonValue) -> KeyPart | None:
    """What names an element of a list: itself, or its `key`, `id`, `moref` or `name`; None if nothing
    does."""
    if isinstance(element, int | str) and not isinstance(element, bool):  # True is an int in Python
        return element
    if isinstance(element, dict):
        for name in KEY_FIELDS:
            value = element.get(name)
            if isinstance(value, int | str) and not isinstance(value, bool):
                return value
    return None


class Nodes:
    """The nodes known so far, in the order of the graph."""

    def __init__(self, specs: tuple[StepSpec, ...], graph: StepGraph, registry: Registry) -> None:
        self._specs = {spec.id: spec for spec in specs}
        self._registry = registry
        self._graph = graph
        self.order: tuple[str, ...] = graph.order()
        self.of_step: dict[str, tuple[Node, ...]] = {}
        """Nodes by step id; a step that cannot be expanded yet is absent."""
        self.by_id: dict[NodeId, Node] = {}
        self._prefixes: dict[tuple[str, int], dict[tuple[KeyPart, ...], tuple[Node, ...]]] = {}

    def spec(self, step: str) -> StepSpec:
        return self._specs[step]

    def kind(self, step: str) -> AnyStep:
        return self._registry.steps[self._specs[step].uses]

    def sources_of_each(self, step: str) -> set[str]:
        """The steps whose outputs the `each` of `step` reads."""
        roots = {ref.root for _, expression in self._specs[step].each for ref in references(expression)}
        return roots & self._specs.keys()

    def expand(self, step: str, scope: Mapping[str, JsonValue]) -> tuple[Node, ...]:
        """Makes the nodes of `step`; `scope` holds what its `each` refers to. Raises StepValueError for what
        is no list, and for a list without usable or with repeated keys."""
        spec = self._specs[step]
        rows: list[tuple[tuple[KeyPart, ...], dict[str, JsonValue]]] = [((), {})]
        for variable, expression in spec.each:
            rows = [
                ((*key, name), {**variables, variable: element})
                for key, variables in rows
                for name, element in _elements(spec, expression, {**scope, **variables})
            ]
        nodes = tuple(Node(NodeId(step, key), spec, self.kind(step), variables) for key, variables in rows)
        # Two nodes of one name would share a record, and one disk's ledger would be taken for the other's.
        if len({node.id for node in nodes}) != len(nodes):
            raise StepValueError(spec, f"step {step} fans out over a list in which a key stands twice")
        self.of_step[step] = tuple(sorted(nodes, key=lambda node: _sortable(node.id.key)))
        self.by_id.update((node.id, node) for node in nodes)
        return self.of_step[step]

    def matching(self, node: Node, step: str) -> tuple[Node, ...]:
        """The nodes of `step` that `node` depends on when it refers to it: siblings pair by key, others
        join."""
        if step not in self.of_step:
            return ()
        mine = dict(zip(node.spec.each, node.id.key, strict=True))
        shared: list[KeyPart] = []
        for entry in self._specs[step].each:
            if entry not in mine:
                break
            shared.append(mine[entry])
        return self._by_prefix(step, len(shared)).get(tuple(shared), ())

    def _by_prefix(self, step: str, length: int) -> dict[tuple[KeyPart, ...], tuple[Node, ...]]:
        # An index, since a job may have thousands of nodes and each of them asks.
        index = self._prefixes.get((step, length))
        if index is None:
            groups: dict[tuple[KeyPart, ...], list[Node]] = {}
            for node in self.of_step[step]:
                groups.setdefault(node.id.key[:length], []).append(node)
            index = self._prefixes[(step, length)] = {key: tuple(found) for key, found in groups.items()}
        return index

    def is_join(self, node: Node, step: str) -> bool:
        """Whether a reference to `step` gives a tuple."""
        mine = set(node.spec.each)
        return any(entry not in mine for entry in self._specs[step].each)

    def step_predecessors(self, step: str) -> tuple[str, ...]:
        return self._graph.predecessors(step)

    def predecessors(self, node: Node) -> tuple[Node, ...]:
        return tuple(
            other for step in self.step_predecessors(node.id.step) for other in self.matching(node, step)
        )

    def processes_under(self, node: Node) -> tuple[Node, ...]:
        """The PROCESS nodes that `node` depends on, itself excluded, each after those it depends on; guards
        first."""
        found: dict[NodeId, Node] = {}
        self._collect_processes(node, found)
        return tuple(sorted(found.values(), key=lambda other: not other.step.guard))

    def _collect_processes(self, node: Node, found: dict[NodeId, Node]) -> None:
        for other in self.predecessors(node):
            if other.is_process and other.id not in found:
                self._collect_processes(other, found)
                found[other.id] = other

    def all(self) -> tuple[Node, ...]:
        return tuple(node for step in self.order for node in self.of_step.get(step, ()))

    def edges(self) -> tuple[tuple[str, str], ...]:
        return tuple(
            (str(before.id), str(node.id)) for node in self.all() for before in self.predecessors(node)
        )


def _elements(
    spec: StepSpec, expression: str, scope: Mapping[str, JsonValue]
) -> Iterator[tuple[KeyPart, JsonValue]]:
    """Of the list that an `each` names, each with its key."""
    try:
        elements = evaluate(expression, scope)
    except ExpressionError as error:
        raise StepValueError(spec, f"step {spec.id}: {error.message}") from error
    if not isinstance(elements, list):
        raise StepValueError(spec, f"step {spec.id} cannot fan out over {expression}: it is not a list")
    for element in elements:
        key = key_of(element)
        if key is None:
            raise StepValueError(
                spec,
                f"step {spec.id} cannot fan out over {expression}: its elements have no {one_of(KEY_FIELDS)}",
            )
        yield key, element


# Numbers by size, before texts: disk 2000 before 16000.
def _sortable(key: tuple[KeyPart, ...]) -> tuple[tuple[bool, int, str], ...]:
    return tuple((isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in key)
