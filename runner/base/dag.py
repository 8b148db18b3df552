"""What comes before what: directed graphs without cycles, of steps, nodes or boxes of a picture. networkx
lives here only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import networkx

Name = TypeVar("Name")


class Dag(Generic[Name]):
    """`nodes` in the order that decides wherever edges leave a choice. The caller makes sure that
    they make no cycle, or asks for `cycles`."""

    def __init__(self, nodes: Iterable[Name]) -> None:
        self._graph: networkx.DiGraph[Name] = networkx.DiGraph()
        self._graph.add_nodes_from(nodes)
        self._place = {node: number for number, node in enumerate(self._graph)}

    def __contains__(self, node: Name) -> bool:
        return node in self._place

    def add(self, edges: Iterable[tuple[Name, Name]]) -> None:
        """Edges (before, behind) between nodes that are there."""
        self._graph.add_edges_from(edges)

    def cycles(self) -> list[tuple[Name, ...]]:
        """One of each knot, in the order of waiting, without repeating the first: naming all the cycles of a
        knot would name exponentially many."""
        found = []
        for knot in networkx.strongly_connected_components(self._graph):
            first = min(knot, key=self._place.__getitem__)
            if len(knot) > 1 or self._graph.has_edge(first, first):
                cycle = networkx.find_cycle(self._graph.subgraph(knot), first)
                found.append(tuple(edge[0] for edge in cycle))
        return sorted(found, key=lambda cycle: self._place[cycle[0]])

    def order(self) -> tuple[Name, ...]:
        """Each node behind all that come before it."""
        return tuple(networkx.lexicographical_topological_sort(self._graph, key=self._place.__getitem__))

    def predecessors(self, node: Name) -> tuple[Name, ...]:
        return tuple(sorted(self._graph.predecessors(node), key=self._place.__getitem__))

    def ancestors(self, node: Name) -> frozenset[Name]:
        return frozenset(networkx.ancestors(self._graph, node))

    def reduced(self) -> tuple[tuple[Name, Name], ...]:
        """The edges that do not follow from others: a → c goes where a → b → c is there."""
        needed = networkx.transitive_reduction(self._graph)
        return tuple(edge for edge in self._graph.edges if needed.has_edge(*edge))

    def levels(self) -> dict[Name, int]:
        """How many nodes stand before each on the longest way to it; then each as late as what it is for
        allows."""
        level = {
            node: number
            for number, generation in enumerate(networkx.topological_generations(self._graph))
            for node in generation
        }
        for node in reversed(self.order()):
            if behind := [level[other] for other in self._graph.successors(node)]:
                level[node] = min(behind) - 1
        return level
