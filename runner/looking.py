"""The world as a plan sees it: asked, never changed."""

from __future__ import annotations

from runner.inputs import Inputs
from runner.model import Model
from runner.nodes import Node
from runner.step import Forecast
from runner.world import World


class Looking:
    """An `Observer` that asks the steps."""

    offline = False

    def __init__(self, world: World) -> None:
        self._world = world

    def look(self, node: Node, inputs: Inputs) -> Model:
        out: Model = node.step.run(self._world.context(node.id), inputs.values, node.step.Live())
        return out

    def check(self, node: Node, inputs: Inputs, recorded: Model | None) -> Model | None:
        found: Model | None = node.step.check(self._world.context(node.id), inputs.values, recorded)
        return found

    def forecast(self, node: Node, inputs: Inputs) -> Forecast:
        return node.step.forecast(self._world.context(node.id), inputs.values)
