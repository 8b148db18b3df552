"""A run's nodes as its records tell of them: for the cleanup, and for what is told of a run that does not
live. It needs the installed steps, and not the graph of the run that made the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from runner.base.errors import SendenseError
from runner.base.model import JobModel
from runner.engine.checkpoint import NodeRecord, RunState, now
from runner.engine.world import World
from runner.job.inputs import MisfitError, parse_out
from runner.job.nodes import NodeId
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.step import AnyStep, Lifetime, Retained, Step


@dataclass(frozen=True)
class Hold:
    """Something that stays after an unfinished run, in words; `since` its node was done."""

    node: str
    what: str
    since: datetime


class RecordedNode:
    """What its record and its step tell of a node. Raises MisfitError where the record is of another version
    of this program."""

    def __init__(self, step: AnyStep, record: NodeRecord, context: Callable[[], Context]) -> None:
        self.step = step
        self.record = record
        self._context = context

    @property
    def name(self) -> str:
        return str(self.record.node)

    @cached_property
    def ctx(self) -> Context:
        # Made once it is asked for: what a record tells by itself is asked before there is a run to act for.
        return self._context()

    @cached_property
    def inputs(self) -> JobModel:
        inputs: JobModel = parse_out(self.step.In, self.record.inputs, self.name)
        return inputs

    def out(self) -> Any:
        """What the node made; of one that a crash kept from recording it, what is found; None for nothing."""
        if self.record.out is not None:
            return parse_out(self.step.Out, self.record.out, self.name)
        return self.step.check(self.ctx, self.inputs, None)

    def due(self) -> str | None:
        """Why what a JOB node took may be held no longer."""
        retained = self.retained(self.out())
        return None if retained is None else retained.due()

    def retained(self, out: Any) -> Retained | None:
        """`out`: what `out()` found."""
        return None if out is None else self.step.retained(self.ctx, self.inputs, out)

    def is_out(self) -> bool:
        """Of a step that commits: whether its work is out in the world."""
        try:
            return self.record.state == "done" or self.step.committed(self.ctx, self.inputs)
        except MisfitError:
            return False  # a caller that acts on it checks again

    def fits(self) -> bool:
        """Whether this version of the program can resume the node or roll it back. What is out in the world
        is known as that by its record alone, and what only looked has nothing to roll back."""
        if self.step.read_only or (self.step.commits and self.record.state == "done"):
            return True
        try:
            _ = self.inputs
            if self.record.out is not None:
                parse_out(self.step.Out, self.record.out, self.name)
        except MisfitError:
            return False
        return True


def _may_leave(step: AnyStep) -> bool:
    """Whether it may have made something that is worth a line before it was recorded."""
    return step.lifetime is Lifetime.JOB or type(step).leftover is not Step.leftover


class RecordedRun:
    """The records of one run, which `world` acts for."""

    def __init__(self, state: RunState, registry: Registry, world: World) -> None:
        self.state = state
        self._registry = registry
        self._world = world

    def nodes(self, *, silent: bool = False) -> list[RecordedNode]:
        """Last first; without those whose step is not installed (any more). `silent`: for read-only commands,
        so that nothing that happens is told."""
        return [
            RecordedNode(step, record, self._context(record, silent=silent))
            for record in self._reversed()
            if (step := self._registry.steps.get(record.step)) is not None
        ]

    def node(self, record: NodeRecord, ctx: Context) -> RecordedNode | None:
        """None if its step is not installed (any more)."""
        step = self._registry.steps.get(record.step)
        return None if step is None else RecordedNode(step, record, lambda: ctx)

    def snapshots(self, *, silent: bool = False) -> list[RecordedNode]:
        """The JOB nodes that were begun, last first."""
        return [node for node in self.nodes(silent=silent) if node.step.lifetime is Lifetime.JOB]

    def misfits(self) -> tuple[NodeId, ...]:
        """Nodes that changed something, and whose records are of another version of this program: nothing can
        be resumed or rolled back by them."""
        fitting = {node.record.node for node in self.nodes() if node.fits()}
        return tuple(record.node for record in self._reversed() if record.node not in fitting)

    def has_acted(self) -> bool:
        """Whether the run may have made anything: what is read-only leaves nothing, and of a step that is not
        installed it is unknown."""
        steps = [self._registry.steps.get(record.step) for record in self.state.nodes().values()]
        return not all(step is not None and step.read_only for step in steps)

    def is_committed(self) -> bool:
        """Whether the run's work is out in the world, by a node that commits it, also if a crash kept that
        from being recorded."""
        return any(node.is_out() for node in self.nodes() if node.step.commits)

    def settle(self) -> None:
        """What a crash kept a node from finishing and recording once it had committed is made good."""
        for node in self.nodes():
            if node.step.commits and node.record.state != "done" and node.is_out():
                with node.ctx.closing:
                    out = node.step.check(node.ctx, node.inputs, None)
                    out = out or node.step.run(node.ctx, node.inputs, node.step.Live())
                update = {"state": "done", "out": out.to_json_value(), "error": None, "at": now()}
                self.state.put(node.record.model_copy(update=update))

    def forget(self, node: RecordedNode) -> None:
        self.state.drop(node.record.node)

    def forget_what_was_seen(self) -> None:
        """Before a snapshot is taken, and before one is released that another one replaces: a crash between
        must not leave the old list of disks for the new snapshot."""
        for node in self.nodes():
            if node.step.read_only:
                self.forget(node)

    def held(self, *, work_done: bool) -> tuple[Hold, ...]:
        """What stays after an unfinished run, each different thing once; once its work is done, what is kept
        is no longer held. Changes nothing."""
        found: dict[str, Hold] = {}
        for node in self.nodes(silent=True):
            if work_done and node.step.lifetime is not Lifetime.JOB:
                continue
            if what := self._held(node):
                found.setdefault(what, Hold(node.name, what, node.record.at))
        return tuple(found.values())

    def _held(self, node: RecordedNode) -> str:
        """In words, empty for nothing."""
        try:
            if node.record.out is None and not _may_leave(node.step):
                return ""
            retained = node.retained(node.out())
            return "" if retained is None else retained.what
        except SendenseError as error:
            named = "" if self._world.run is None else f" (with {self._world.run.id} in its name)"
            return f"whatever {node.name} made{named}, which cannot be checked now ({error})"

    def _context(self, record: NodeRecord, *, silent: bool) -> Callable[[], Context]:
        # What records tell of is looked at and rolled back most of all once the run was told to stop: by the
        # run's own stop, which is set then, nothing could be.
        if silent:
            return lambda: self._world.unheard(record.node, cleanup=True)
        return lambda: self._world.context(record.node, record.details, cleanup=True)

    def _reversed(self) -> list[NodeRecord]:
        return sorted(self.state.nodes().values(), key=lambda record: -record.sequence)
