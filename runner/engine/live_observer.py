"""The world as a plan sees it: asked, never changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from runner.base.model import Model
from runner.base.waiting import FirstOf
from runner.engine.checkpoint import NodeRecord
from runner.engine.world import World
from runner.events.events import Event, Warned
from runner.job.inputs import Inputs, parse_out
from runner.job.nodes import Node, NodeId
from runner.step.context import Answers, Context
from runner.step.preflight import Known, Preflight
from runner.step.step import AnyStep, Lifetime


class LiveObserver:
    """An `Observer` that asks the steps, and each host once whether it can be reached, and once for each
    thing that several nodes want to know."""

    offline = False

    def __init__(
        self, world: World, until: threading.Event | None = None, answers: Answers | None = None
    ) -> None:
        """It looks until the run's stop is set, or `until` is. `answers`: what is known beforehand."""
        self._world = world
        self._until = None if until is None else FirstOf(world.stop, until)
        self._answers: Answers = {} if answers is None else answers

    def look(self, node: Node, inputs: Inputs) -> tuple[Model, tuple[str, ...]]:
        heard: list[Event] = []
        out: Model = node.step.run(self._context(node.id, heard.append), inputs.values, node.step.Live())
        return out, tuple(event.text for event in heard if isinstance(event, Warned))

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None:
        found: Model | None = node.step.check(self._context(node.id), inputs.values, recorded)
        return found

    def preflight(self, name: NodeId | str, kind: AnyStep, known: Known[Any, Any]) -> Preflight[Any]:
        ctx = self._context(name)
        ctx.check_stop()
        return kind.preflight(ctx, known)

    def _context(self, node: NodeId | str, emit: Callable[[Event], None] | None = None) -> Context:
        return self._world.unheard(node, emit, answers=self._answers, until=self._until)

    def due(self, node: Node, record: NodeRecord) -> str | None:
        if node.step.lifetime is not Lifetime.JOB or record.out is None:
            return None
        inputs = parse_out(node.step.In, record.inputs, str(node.id))
        out = parse_out(node.step.Out, record.out, str(node.id))
        kept = node.step.retained(self._context(node.id), inputs, out)
        return None if kept is None else kept.due()
