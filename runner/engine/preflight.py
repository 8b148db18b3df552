"""Looking at all that a job stands on before anything is changed, as its steps say it (`Step.examine`).

The nodes are walked in order. What a node would give is foreseen where its step can tell, so that the nodes
behind it are looked at too; where something is in the way, what stands on it is left out, and the doctor says
so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.model import dump_value
from runner.engine.world import World
from runner.events.check_results import Observation, met, wrong
from runner.job.field_roles import names
from runner.job.inputs import Resolver
from runner.job.nodes import Node, NodeId, Nodes
from runner.step.space import Space, SpaceNeeded, summed
from runner.step.step import Lifetime, Step


class Unready(SendenseError):
    """What is wrong with one node, which a run would meet only after it changed something."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        sentences = [one.sentence for one in observations]
        begin = "" if len(sentences) == 1 else f"{len(sentences)} things are in the way: "
        super().__init__(f"{begin}{'; '.join(sentences)}; nothing was changed")
        self.fix_first = not any(one.passing for one in observations)


@dataclass(frozen=True)
class Fault:
    """What is in the way of a run, and the node (its id, and its kind of step) whose it is."""

    node: str
    step: str
    error: SendenseError


class NotReady(SendenseError):
    """Something is in the way of a run, which has changed nothing. `faults`: each thing once, at the first
    node that meets it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.node}: {fault.error}" for fault in faults))


@dataclass(frozen=True)
class Seen:
    """`node` is its id, `step` its kind; `locked`: what is in the way is another run."""

    node: str
    step: str
    observation: Observation
    locked: LockedError | None = None


class Examination:
    """`unknown`: steps that could not be looked at, since what they stand on could not be foreseen."""

    def __init__(self, nodes: Nodes, resolver: Resolver, world: World) -> None:
        self._nodes = nodes
        self._resolver = resolver
        self._world = world
        self.unknown: list[str] = []
        self._space: list[Space] = []
        self._writes: dict[tuple[str, str], tuple[str, str]] = {}
        """Of each place the first node that writes there, and its kind of step."""

    def refuse_unless_ready(self, known: Mapping[NodeId, JsonValue]) -> None:
        """Raises NotReady; where another run is in the way, with that alone: it may be over soon."""
        found = list(self.look(known, thorough=False))
        for seen in found:
            if seen.locked is not None:
                raise NotReady([Fault(seen.node, seen.step, seen.locked)])
        told: set[str] = set()
        bad: dict[tuple[str, str], list[Observation]] = {}
        for seen in (*found, *self._too_little()):
            if seen.observation.state == "wrong" and seen.observation.sentence not in told:
                told.add(seen.observation.sentence)
                bad.setdefault((seen.node, seen.step), []).append(seen.observation)
        if bad:
            raise NotReady(
                [Fault(node, step, Unready(observations)) for (node, step), observations in bad.items()]
            )

    def space(self) -> tuple[SpaceNeeded, ...]:
        """Of all that was looked at, what it needs in each place."""
        return summed(self._space)

    def _too_little(self) -> Iterator[Seen]:
        """Space, of the first node that writes there."""
        for needed in self.space():
            if needed.problem is not None:
                yield Seen(*self._writes[(needed.host, needed.path)], needed.observation())

    def named(self) -> Iterator[tuple[str, str]]:
        """Section (empty: hosts) and name of what the steps name in their `with`, as far as the job file
        alone tells."""
        for step in self._nodes.order:
            for _, mark, name in names(self._nodes.kind(step).In, self._resolver.told(step)):
                yield ("" if mark is None else mark.section), name

    def look(self, known: Mapping[NodeId, JsonValue], *, thorough: bool) -> Iterator[Seen]:
        """`known`: outputs of nodes that looked or are done already, so that nothing has to be foreseen of
        them. `thorough`: also at what steps that only look, and forecasts, tell; else it is left to them,
        since they come before any change. Raises Interrupted."""
        for step in self._nodes.order:
            scope = self._resolver.each_scope(step)
            if scope is None:
                self.unknown.append(step)
                continue
            for node in self._nodes.expand(step, scope):
                if self._resolver.unknown(node):
                    self.unknown.append(str(node.id))
                    continue
                done = node.id in known
                if done:
                    self._resolver.know(node, known[node.id], 1)
                if self._is_worth_a_look(node, done=done, thorough=thorough):
                    yield from self._node(node, done=done, thorough=thorough)
                if type(node.step).space is not Step.space:
                    yield from self._measured(node)
        if thorough:
            for step in dict.fromkeys(node.partition("[")[0] for node in self.unknown):
                yield from self._early(step)

    @staticmethod
    def _is_worth_a_look(node: Node, *, done: bool, thorough: bool) -> bool:
        """What is made and kept needs nothing more (no space for an image that is there); what is held is
        taken back some time."""
        if node.step.read_only:
            return thorough
        return not done or node.step.lifetime is Lifetime.JOB

    def _measured(self, node: Node) -> Iterator[Seen]:
        try:
            needed = node.step.space(self._world.unheard(node.id), self._resolver.inputs(node).values)
        except Interrupted:
            raise
        except SendenseError as error:
            yield Seen(str(node.id), node.step.name, met(f"step {node.id}", "what it will write", error))
        else:
            if needed is not None:
                self._space.append(needed)
                self._writes.setdefault((needed.host, needed.path), (str(node.id), node.step.name))

    def _early(self, step: str) -> Iterator[Seen]:
        kind = self._nodes.kind(step)
        try:
            for observation in kind.examine_early(
                self._world.unheard(step), self._resolver.told_values(step)
            ):
                yield Seen(step, kind.name, observation)
        except Interrupted:
            raise
        except SendenseError as error:
            yield Seen(step, kind.name, met(f"step {step}", "what it stands on", error))

    def _node(self, node: Node, *, done: bool, thorough: bool) -> Iterator[Seen]:
        name, kind = str(node.id), node.step.name
        ctx = self._world.unheard(node.id)
        try:
            ctx.check_stop()
            values = self._resolver.inputs(node).values
            for observation in node.step.examine(ctx, values):
                yield Seen(name, kind, observation)
            if done:
                return
            if thorough:
                for problem in node.step.forecast(ctx, values).problems:
                    yield Seen(name, kind, wrong(f"step {name}", "what it would meet", problem))
            out = (
                node.step.run(ctx, values, node.step.Live())
                if node.step.read_only
                else node.step.foresee(ctx, values)
            )
            if out is not None:
                self._resolver.know(node, dump_value(out), 1)
        except Interrupted:
            raise
        except SendenseError as error:
            locked = error if isinstance(error, LockedError) else None
            yield Seen(name, kind, met(f"step {name}", "what it stands on", error), locked)
