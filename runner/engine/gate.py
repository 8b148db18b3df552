"""Whether a run may begin to change things, looked at once: before its first node that does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.engine.failures import Failures
from runner.engine.readiness import Fault, NotReady
from runner.engine.schedule import Schedule, Status
from runner.job.inputs import Resolver
from runner.job.nodes import Node, NodeId, Nodes

LookAhead = Callable[[Mapping[NodeId, JsonValue]], None]


class NotBegun(Exception):
    """The run does not begin; `at_fault`: ids of the nodes because of which, at least one."""

    def __init__(self, at_fault: Sequence[str]) -> None:
        super().__init__("the run does not start")
        self.at_fault = at_fault


class Gate:
    def __init__(
        self, look_ahead: LookAhead, nodes: Nodes, resolver: Resolver, schedule: Schedule, failures: Failures
    ) -> None:
        """`look_ahead`, with the outputs known so far, raises what keeps the run from beginning."""
        self._look_ahead = look_ahead
        self._nodes = nodes
        self._resolver = resolver
        self._schedule = schedule
        self._failures = failures
        self._looking = threading.Lock()
        self._at_fault: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        return bool(self._at_fault)

    def require(self, node: Node) -> None:
        """For `node`, which changes something. Raises NotBegun; what is wrong is told once, of the node whose
        fault it is."""
        # Held while it looks: a second node that would change something waits for what the first one finds.
        with self._looking:
            if self._failures.outcome.begun:
                return
            if not self._at_fault:
                try:
                    self._look_ahead(dict(self._resolver.outputs))
                    self._failures.outcome.begun = True
                    return
                except NotReady as error:
                    self._refuse(error.faults)
                except SendenseError as error:
                    self._refuse([Fault(str(node.id), node.step.name, error)])
            raise NotBegun(self._at_fault)

    def _refuse(self, faults: Sequence[Fault]) -> None:
        self._at_fault = tuple(fault.node for fault in faults)
        for fault in faults:
            self._failures.add(fault.node, fault.step, fault.error)
        for node in self._nodes.all():
            if str(node.id) in self._at_fault:
                self._schedule.set(node, Status.FAILED)
