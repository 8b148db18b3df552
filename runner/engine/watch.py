"""What must be released though the run works: looked at every minute, so that a snapshot goes before the
datastore that it grows on is full.

The run then ends as after any failure, in order; what is due is released by its end (`Retained.due`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from runner.base import workers
from runner.base.errors import SendenseError
from runner.engine.world import World
from runner.job.inputs import Resolver, parse_out
from runner.job.nodes import Node, Nodes
from runner.step.step import Lifetime, Step

EVERY = 60.0
LEAVE_TIMEOUT = 5.0
"""Seconds for a look that is under way at the end of the run; it ends with its connection."""


class Watch:
    """Use as a context manager, for as long as nodes work. `fail` gets the node and its error, once."""

    def __init__(
        self, nodes: Nodes, resolver: Resolver, world: World, fail: Callable[[Node, SendenseError], None]
    ) -> None:
        self._nodes = nodes
        self._resolver = resolver
        self._world = world
        self._fail = fail
        self._over = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        kinds = [self._nodes.kind(step) for step in self._nodes.order]
        if any(type(kind).endangered is not Step.endangered for kind in kinds):
            workers.start(self._run, "watch")
        else:
            self._ended.set()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._ended.wait(LEAVE_TIMEOUT)

    def _run(self) -> None:
        try:
            while not self._over.wait(EVERY):
                for node in tuple(self._nodes.all()):
                    if node.step.lifetime is Lifetime.JOB and (error := self._look(node)) is not None:
                        self._fail(node, error)
                        return
        finally:
            self._ended.set()

    def _look(self, node: Node) -> SendenseError | None:
        """What cannot be seen now is looked at again a minute later."""
        out = self._resolver.outputs.get(node.id)
        if out is None or self._over.is_set():
            return None
        try:
            inputs = self._resolver.inputs(node).values
            made = parse_out(node.step.Out, out, str(node.id))
            return node.step.endangered(self._world.context(node.id), inputs, made)
        except SendenseError:
            return None
