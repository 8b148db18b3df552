"""The graph of a job's steps (before any fan-out): what must be done before what. networkx lives here
only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx

from runner.base.errors import UsageError
from runner.job.expressions import references
from runner.job.model import StepSpec
from runner.step.registry import Registry


class CycleError(UsageError):
    """`cycles`: each as ids in the order of waiting, without repeating the first."""

    def __init__(self, cycles: Sequence[tuple[str, ...]]) -> None:
        self.cycles = tuple(cycles)
        super().__init__("; ".join(cycle_sentence(cycle) for cycle in self.cycles))


def cycle_sentence(cycle: tuple[str, ...]) -> str:
    """``a → b → a`` reads: a is needed by b, which is needed by a."""
    return f"steps wait for each other: {' → '.join((*cycle, cycle[0]))}"


def step_references(step: StepSpec) -> tuple[str, ...]:
    """The ids (or what stands in their place) that the step's `with` and `each` name; its own variables are
    none."""
    found: dict[str, None] = {}
    known: set[str] = set()
    for variable, expression in step.each:
        found.update((each.root, None) for each in references(expression) if each.root not in known)
        known.add(variable)
    found.update((each.root, None) for each in references(dict(step.with_)) if each.root not in known)
    return tuple(found)


def reduced(edges: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Without those that follow from others, in the order given: a → c goes where a → b → c is there. `edges`
    have no cycle."""
    graph: networkx.DiGraph[str] = networkx.DiGraph(edges)
    needed = networkx.transitive_reduction(graph)
    return tuple(edge for edge in dict.fromkeys(edges) if needed.has_edge(*edge))


class StepGraph:
    """Edges come from references, from `needs`, and from guards: a guard goes before every step that changes
    something, except those that it needs itself. Ids that no step has are left out. Raises CycleError."""

    def __init__(self, steps: Sequence[StepSpec], registry: Registry) -> None:
        self._position = {step.id: number for number, step in reversed(list(enumerate(steps)))}
        self._graph: networkx.DiGraph[str] = networkx.DiGraph()
        self._graph.add_nodes_from(step.id for step in steps)
        for step in steps:
            needed = (*step_references(step), *step.needs)
            self._graph.add_edges_from((name, step.id) for name in needed if name in self._position)
        if not networkx.is_directed_acyclic_graph(self._graph):
            raise CycleError(self._cycles())
        self._add_guards(steps, registry)
        self.order: tuple[str, ...] = tuple(
            networkx.lexicographical_topological_sort(self._graph, key=self._position.__getitem__)
        )
        """Each step after what it needs; where that leaves a choice, as in the file."""

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(needed, needing), in file order."""
        place = self._position
        return tuple(sorted(self._graph.edges, key=lambda edge: (place[edge[0]], place[edge[1]])))

    def predecessors(self, step: str) -> tuple[str, ...]:
        return self._in_file_order(self._graph.predecessors(step))

    def successors(self, step: str) -> tuple[str, ...]:
        return self._in_file_order(self._graph.successors(step))

    def ancestors(self, step: str) -> frozenset[str]:
        return frozenset(networkx.ancestors(self._graph, step))

    def descendants(self, step: str) -> frozenset[str]:
        return frozenset(networkx.descendants(self._graph, step))

    def _add_guards(self, steps: Sequence[StepSpec], registry: Registry) -> None:
        kinds = {step.id: registry.steps.get(step.uses) for step in steps}
        guards = [name for name, kind in kinds.items() if kind is not None and kind.guard]
        guarded = [name for name, kind in kinds.items() if kind is None or not (kind.guard or kind.read_only)]
        for guard in guards:
            # Looked up anew for each guard: the edges of one may make a step an ancestor of the next.
            before = networkx.ancestors(self._graph, guard)
            self._graph.add_edges_from((guard, name) for name in guarded if name not in before)

    def _cycles(self) -> list[tuple[str, ...]]:
        """One of each knot: naming all the cycles of a knot would name exponentially many."""
        cycles = []
        for knot in networkx.strongly_connected_components(self._graph):
            first = min(knot, key=self._position.__getitem__)
            if len(knot) > 1 or self._graph.has_edge(first, first):
                found = networkx.find_cycle(self._graph.subgraph(knot), first)
                cycles.append(tuple(edge[0] for edge in found))
        return sorted(cycles, key=lambda cycle: self._position[cycle[0]])

    def _in_file_order(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=self._position.__getitem__))
