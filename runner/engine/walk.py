"""The walk over a job's nodes ahead of a run, in their order: for the plan, the doctor and the look that a
run takes before it changes anything.

    for each step, for each of its nodes
    ├── _stand     whether it is done already, and what it gave
    ├── _looked    a step that is read-only is run: its output says more than any look ahead
    ├── _ahead     else `Step.preflight`; by the prospect that it gives the nodes behind it are looked at
    └── _partly    where what comes before is not even foreseen: what the job file alone tells

It does no I/O itself: all that it learns of the world comes through an `Observer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.model import Model, dump_value
from runner.engine.observer import Observer
from runner.engine.standing import Standing
from runner.events.check_results import Observation, met, wrong
from runner.job.inputs import MisfitError, Resolver, parse_out
from runner.job.nodes import Node, Nodes
from runner.step.preflight import Known, Preflight
from runner.step.step import AnyStep, Lifetime

SIDE_BY_SIDE = 4
"""Nodes of one step, where they ask the world: as many as run at once."""


class Knows(Protocol):
    """`Standings` by records, `Outcomes` by what the run itself did."""

    def of(self, node: Node, resolver: Resolver) -> Standing: ...


@dataclass(frozen=True)
class Visit:
    """What the walk found of a node, or of a step whose nodes are not known yet (`node` is None)."""

    step: str
    kind: AnyStep
    node: Node | None = None
    standing: Standing = field(default_factory=lambda: Standing(""))
    waiting: tuple[str, ...] = ()
    """The steps whose outputs its inputs wait for: what was looked at is foreseen only."""
    found: Preflight[Any] = field(default_factory=Preflight)
    error: SendenseError | None = None
    """What kept it from being looked at."""
    complete: bool = True
    """False where what comes before could not be foreseen, so that at most a part was looked at."""
    out: Model | None = None
    """Of a step that is read-only and was run for this walk, what it gave."""
    warnings: tuple[str, ...] = ()
    """What that warned of: what it found is not what it was."""

    @property
    def name(self) -> str:
        return self.step if self.node is None else str(self.node.id)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What it depends on. What is made and kept needs nothing more; what a JOB node holds is released
        some time."""
        if self.standing.kept and self.kind.lifetime is Lifetime.KEEP and not self.kind.read_only:
            return ()
        return self.found.observations

    @property
    def foretold(self) -> tuple[Observation, ...]:
        """What it would fail with."""
        problems = () if self.standing.kept else self.found.problems
        return tuple(wrong(f"step {self.name}", "what it would find", problem) for problem in problems)

    @property
    def met(self) -> tuple[Observation, ...]:
        """What kept it from being looked at."""
        errors = (self.standing.error, self.error, self.found.locked)
        return tuple(
            met(f"step {self.name}", "what it depends on", error) for error in errors if error is not None
        )

    @property
    def locked(self) -> LockedError | None:
        return self.error if isinstance(self.error, LockedError) else self.found.locked


class Walk:
    """Iterate over it once; raises Interrupted. `looks`: steps that are read-only are run. `thorough`: what
    they depend on is looked at too, and what any step depends on by the job file alone where no more is
    known."""

    def __init__(
        self,
        nodes: Nodes,
        resolver: Resolver,
        observer: Observer,
        standings: Knows,
        *,
        looks: bool = True,
        thorough: bool = False,
        side_by_side: int = SIDE_BY_SIDE,
    ) -> None:
        self._nodes = nodes
        self._resolver = resolver
        self._observer = observer
        self._standings = standings
        self._looks = looks and not observer.offline
        self._thorough = thorough
        self._side_by_side = side_by_side
        self._early: dict[str, Preflight[Any]] = {}

    def __iter__(self) -> Iterator[Visit]:
        for step in self._nodes.order:
            kind = self._nodes.kind(step)
            told = Known[Any, Any](self._resolver.told_values(step))
            scope = self._resolver.each_scope(step)
            if scope is None:
                yield self._partly(Visit(step, kind), told)
                continue
            yield from self._all(self._nodes.expand(step, scope), partial(self._node, kind, told))

    def _all(self, nodes: Sequence[Node], visit: Callable[[Node], Visit]) -> Iterator[Visit]:
        """In their order. What the first one asks the others need not ask again; of a VM with many disks they
        are visited side by side."""
        yield from map(visit, nodes[:1])
        if self._observer.offline or self._side_by_side == 1:
            yield from map(visit, nodes[1:])
        elif len(nodes) > 1:
            with ThreadPoolExecutor(self._side_by_side, thread_name_prefix="look") as pool:
                yield from pool.map(visit, nodes[1:])

    def _node(self, kind: AnyStep, told: Known[Any, Any], node: Node) -> Visit:
        visit = Visit(node.id.step, kind, node, waiting=self._resolver.unknown(node))
        return self._read_only(visit, told) if kind.read_only else self._visit(visit, told)

    def _visit(self, visit: Visit, told: Known[Any, Any]) -> Visit:
        node = visit.node
        assert node is not None
        if not node.is_process:
            visit = replace(visit, standing=self._stand(node))
        standing = visit.standing
        # What completed earlier may stand on what is gone since (a vCenter that is down): nobody needs it
        # now.
        if self._observer.offline or (standing.settled and not self._thorough):
            return replace(visit, found=visit.kind.preflight(None, told))
        if self._resolver.unknown(node, foreseen=True):
            return self._partly(visit, told)
        visit = self._ahead(visit, told, _given(node, standing))
        if visit.found.prospect is not None and not standing.kept:
            self._resolver.foresee(node, dump_value(visit.found.prospect))
        return visit

    def _read_only(self, visit: Visit, told: Known[Any, Any]) -> Visit:
        """Run for the walk, unless it was before: its output says more than any look ahead."""
        node = visit.node
        assert node is not None
        standing = self._stand(node)
        visit = replace(visit, standing=standing)
        if visit.waiting and not standing.kept:
            return self._partly(visit, told)
        if self._thorough:
            visit = self._ahead(visit, told, None)
        if self._looks and visit.error is None and standing.error is None and not standing.kept:
            visit = self._looked(visit, node)
        if self._thorough:
            return visit
        # It was looked at just now: to ask its preflight of the world would be to look a second time.
        known = replace(told, out=visit.out or _given(node, standing))
        return replace(visit, found=visit.kind.preflight(None, known))

    def _stand(self, node: Node) -> Standing:
        standing = self._standings.of(node, self._resolver)
        if standing.kept:
            self._resolver.know(node, standing.out, standing.acts)
        return standing

    def _looked(self, visit: Visit, node: Node) -> Visit:
        try:
            out, warnings = self._observer.look(node, self._resolver.inputs(node))
        except Interrupted:
            raise
        except SendenseError as error:
            return replace(visit, error=error)
        self._resolver.know(node, dump_value(out), 1)
        return replace(visit, out=out, warnings=warnings)

    def _ahead(self, visit: Visit, told: Known[Any, Any], out: Model | None) -> Visit:
        node = visit.node
        assert node is not None
        try:
            known = replace(told, inputs=self._resolver.inputs(node).values, out=out)
            return replace(visit, found=self._observer.preflight(node.id, visit.kind, known))
        except Interrupted:
            raise
        except SendenseError as error:
            # A reviewer sees the settings of a node that cannot be looked at, too.
            return replace(visit, error=error, found=visit.kind.preflight(None, told))

    def _partly(self, visit: Visit, told: Known[Any, Any]) -> Visit:
        """By what the job file alone tells, once for all nodes of a step."""
        visit = replace(visit, complete=False)
        if not self._thorough:
            return replace(visit, found=visit.kind.preflight(None, told))
        try:
            if visit.step not in self._early:
                self._early[visit.step] = self._observer.preflight(visit.step, visit.kind, told)
            return replace(visit, found=self._early[visit.step])
        except Interrupted:
            raise
        except SendenseError as error:
            return replace(visit, error=error)


def _given(node: Node, standing: Standing) -> Model | None:
    """None for what is not done, and for what another version of the step recorded."""
    if not standing.kept:
        return None
    try:
        out: Model = parse_out(node.step.Out, standing.out, str(node.id))
    except MisfitError:
        return None
    return out
