"""What comes before what: directed graphs without cycles, of steps, nodes or boxes of a picture. networkx
lives here only."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import Generic, TypeVar

Name = TypeVar("Name")


class Dag(Generic[Name]):
    """`nodes` in the order that decides wherever edges leave a choice. The caller makes sure that
    they make no cycle, or asks for `cycles`."""

    def __init__(self, nodes: Iterable[Name]) -> None:
        self._nodes = tuple(dict.fromkeys(nodes))
        self._place = {node: number for number, node in enumerate(self._nodes)}
        self._before: dict[Name, set[Name]] = {node: set() for node in self._nodes}
        self._behind: dict[Name, set[Name]] = {node: set() for node in self._nodes}

    def __contains__(self, node: Name) -> bool:
        return node in self._place

    def add(self, edges: Iterable[tuple[Name, Name]]) -> None:
        """Edges (before, behind) between nodes that are there."""
        for before, behind in edges:
            self._before[behind].add(before)
            self._behind[before].add(behind)

    def cycles(self) -> list[tuple[Name, ...]]:
        """One of each knot, in the order of waiting, without repeating the first: naming all the cycles of a
        knot would name exponentially many."""
        try:
            TopologicalSorter(self._before).prepare()
        except CycleError:
            return self._knots()
        return []

    def _knots(self) -> list[tuple[Name, ...]]:
        import networkx

        graph: networkx.DiGraph[Name] = networkx.DiGraph()
        graph.add_nodes_from(self._nodes)
        graph.add_edges_from(self._edges())
        found = []
        for knot in networkx.strongly_connected_components(graph):
            first = min(knot, key=self._place.__getitem__)
            if len(knot) > 1 or graph.has_edge(first, first):
                cycle = networkx.find_cycle(graph.subgraph(knot), first)
                found.append(tuple(edge[0] for edge in cycle))
        return sorted(found, key=lambda cycle: self._place[cycle[0]])

    def order(self) -> tuple[Name, ...]:
        """Each node behind all that come before it."""
        sorter = TopologicalSorter(self._before)
        sorter.prepare()
        ready: list[int] = []
        order = []
        while sorter.is_active():
            for node in sorter.get_ready():
                heappush(ready, self._place[node])
            order.append(self._nodes[heappop(ready)])
            sorter.done(order[-1])
        return tuple(order)

    def predecessors(self, node: Name) -> tuple[Name, ...]:
        return tuple(sorted(self._before[node], key=self._place.__getitem__))

    def ancestors(self, node: Name) -> frozenset[Name]:
        found: set[Name] = set()
        pending = [node]
        while pending:
            new = self._before[pending.pop()] - found
            found |= new
            pending += new
        return frozenset(found)

    def reduced(self) -> tuple[tuple[Name, Name], ...]:
        """The edges that do not follow from others: a → c goes where a → b → c is there."""
        reached: dict[Name, set[Name]] = {}
        for node in reversed(self.order()):
            behind = self._behind[node]
            reached[node] = behind.union(*(reached[other] for other in behind))
        return tuple(
            (before, behind)
            for before, behind in self._edges()
            if not any(behind in reached[other] for other in self._behind[before])
        )

    def levels(self) -> dict[Name, int]:
        """How many nodes stand before each on the longest way to it; then each as late as what it is for
        allows."""
        level: dict[Name, int] = {}
        for node in self.order():
            level[node] = max((level[other] + 1 for other in self._before[node]), default=0)
        for node in reversed(self.order()):
            if behind := [level[other] for other in self._behind[node]]:
                level[node] = min(behind) - 1
        return level

    def _edges(self) -> list[tuple[Name, Name]]:
        """By their beginnings, then by their ends."""
        return [
            (before, behind)
            for before in self._nodes
            for behind in sorted(self._behind[before], key=self._place.__getitem__)
        ]
