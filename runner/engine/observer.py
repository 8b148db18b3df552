"""What may be asked of the world ahead of a run, without changing it."""

from __future__ import annotations

from typing import Any, Protocol

from runner.base.model import Model
from runner.engine.checkpoint import NodeRecord
from runner.job.inputs import Inputs
from runner.job.nodes import Node, NodeId
from runner.step.preflight import Known, Preflight
from runner.step.step import AnyStep


class Observer(Protocol):
    """Each may raise SendenseError."""

    offline: bool

    def look(self, node: Node, inputs: Inputs) -> tuple[Model, tuple[str, ...]]:
        """The output of a step that is read-only, and what it warned of."""

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None: ...

    def due(self, node: Node, record: NodeRecord) -> str | None:
        """Why what the JOB node of `record` holds is released."""

    def preflight(self, name: NodeId | str, kind: AnyStep, known: Known[Any, Any]) -> Preflight[Any]: ...


class Blind:
    """Knows nothing beyond the job file."""

    offline = True

    def look(self, node: Node, inputs: Inputs) -> tuple[Model, tuple[str, ...]]:
        raise AssertionError("an offline plan connects to nothing")

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None:
        return None

    def due(self, node: Node, record: NodeRecord) -> str | None:
        return None

    def preflight(self, name: NodeId | str, kind: AnyStep, known: Known[Any, Any]) -> Preflight[Any]:
        return kind.preflight(None, known)
