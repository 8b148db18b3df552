"""What becomes of nodes, as records: an intent before each act, then done or failed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.base.model import Model, dump_value
from runner.engine.checkpoint import NodeRecord, RunState, now
from runner.events.events import Bus, Warned
from runner.job.inputs import Inputs, Resolver
from runner.job.nodes import Node


class Recorder:
    """Of one run; called from the threads of its nodes."""

    def __init__(self, state: RunState, resolver: Resolver, bus: Bus, tools: Mapping[str, str]) -> None:
        """`tools`: those that the run has seen so far, at any moment."""
        self._state = state
        self._resolver = resolver
        self._bus = bus
        self._tools = tools
        self._sequence = max((record.sequence for record in state.nodes().values()), default=0)
        self._lock = threading.Lock()

    def intent(self, node: Node, inputs: Inputs, details: dict[str, JsonValue]) -> None:
        """Of an act that comes next. `details` are those of the failure before."""
        self._put(node, inputs, "intent", None, details)

    def done(self, node: Node, inputs: Inputs, out: Model) -> int:
        """Returns how many times the node has acted, this time included."""
        return self._put(node, inputs, "done", out, {})

    def _put(
        self,
        node: Node,
        inputs: Inputs,
        state: Literal["intent", "done"],
        out: Model | None,
        details: dict[str, JsonValue],
    ) -> int:
        before = self._state.nodes().get(node.id)
        acts = (0 if before is None else before.acts) + (state == "intent")
        self._state.put(
            NodeRecord(
                step_id=node.id.step,
                key=node.id.key,
                step=node.spec.uses,
                step_version=node.step.version,
                sequence=self._next() if before is None else before.sequence,
                acts=acts,
                digest=inputs.digest,
                fields=dict(inputs.fields),
                inputs=inputs.values.to_json_value(),
                state=state,
                out=None if out is None else out.to_json_value(),
                details=details,
                tools=dict(self._tools),
                at=now(),
            )
        )
        return acts

    def _next(self) -> int:
        with self._lock:
            self._sequence += 1
            return self._sequence

    def failed(self, node: Node, error: SendenseError) -> None:
        """If it cannot be written, the intent record stays, which says as much; what is told is the failure
        itself."""
        try:
            self._failed(node, error)
        except SendenseError as unwritten:
            self._bus.emit(
                Warned(node=str(node.id), text=f"that {node.id} failed could not be recorded: {unwritten}")
            )

    def _failed(self, node: Node, error: SendenseError) -> None:
        # What must be made again first: a crash between must not leave the refusal without its consequence.
        for name in error.invalidates:
            for other in self._resolver.producers(node, name):
                known = self._state.nodes().get(other.id)
                if known is not None:
                    why = f"{node.id} rejected its result"
                    self._state.put(
                        known.model_copy(update={"state": "forgotten", "error": why, "at": now()})
                    )
        record = self._state.nodes()[node.id]
        details = dump_value(error.details) if error.details else record.details
        failed = {"state": "failed", "error": str(error), "details": details, "tools": dict(self._tools)}
        self._state.put(record.model_copy(update={**failed, "at": now()}))
