"""Where a reference leads and what it gives there, known before anything runs.

Pairing and joining count: between siblings of one `each`, ``${{ image }}`` is an Image; in a step without
that `each` it is a list of them.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from runner.base.errors import Problem
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Location, Node, Scalar
from runner.job.expressions import ExpressionError, Reference, look_up, parse, whole
from runner.job.model import StepSpec
from runner.job.reference_types import ANYTHING, Known, NoSuchPart, Shape, Typed, is_scalar, list_of, part_of
from runner.job.variables import ROOT, Variables
from runner.step.registry import Registry
from runner.step.step import Lifetime

RUN = "run"
RUN_FIELDS = ("id", "job")


class Takes(enum.Enum):
    VALUE = "values"
    """A field of `In`: what it is made of outlives processes and enters the digest."""
    EACH = "lists"
    PROCESS = "processes"
    """A field of `Live`: what PROCESS steps give."""
    ANYTHING = "anything"
    """A field of a step of unknown kind."""


@dataclass(frozen=True)
class Place:
    """Where a reference stands: in which step, with which variables, in what kind of field."""

    spec: StepSpec
    variables: Mapping[str, Shape]
    takes: Takes


def whole_of(node: Node) -> Reference | None:
    """The reference that is all of the node; None also for a bad expression."""
    try:
        return whole(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
    except ExpressionError:
        return None


class References:
    """`unreadable` are ids of steps of which nothing is known; `problems` gathers what leads nowhere."""

    def __init__(
        self,
        specs: Mapping[str, StepSpec],
        unreadable: Collection[str],
        registry: Registry,
        variables: Variables,
        problems: list[Problem],
    ) -> None:
        self._specs = specs
        self._unreadable = unreadable
        self._registry = registry
        self._variables = variables
        self._problems = problems

    def in_text(self, place: Place, node: Scalar) -> list[tuple[Reference, Shape]]:
        """Those of a text that lead somewhere, with what they give; what is wrong with them is said."""
        if not isinstance(node.value, str) or "${{" not in node.value:
            return []
        try:
            parts = parse(node.value)
        except ExpressionError as error:
            self._say(node.at, error.message)
            return []
        found = []
        for part in parts:
            if isinstance(part, Reference) and (shape := self.shape(place, part, node.at)) is not None:
                found.append((part, shape))
                if len(parts) > 1 and not is_scalar(shape):
                    self._say(node.at, f"{part} is {shape}, which cannot stand inside a text")
        return found

    def shape(self, place: Place, reference: Reference, at: Location) -> Shape | None:
        """None, and said, if it leads nowhere, or where such a field may not look."""
        root = reference.root
        try:
            if root in place.variables:
                return self._value(place, part_of(place.variables[root], reference.path, root), reference, at)
            if root == ROOT:
                if not self._variables.knows(reference, at):
                    return None
                known = Known((look_up(reference, self._variables.scope),))
                return self._value(place, known, reference, at)
            if root == RUN:
                return self._value(place, self._of_run(reference), reference, at)
            return self._of_step(place, reference, at)
        except NoSuchPart as error:
            self._say(at, f"{reference}: {error.message}")
            return None

    def _value(self, place: Place, shape: Shape, reference: Reference, at: Location) -> Shape | None:
        if place.takes is Takes.PROCESS:
            self._say(at, f"{reference} is a value, and this field takes what a running step gives")
            return None
        return shape

    def _of_run(self, reference: Reference) -> Shape:
        if len(reference.path) != 1 or reference.path[0] not in RUN_FIELDS:
            raise NoSuchPart(f"of a run there are {' and '.join(f'run.{name}' for name in RUN_FIELDS)}")
        return Typed(str)

    def _of_step(self, place: Place, reference: Reference, at: Location) -> Shape | None:
        root = reference.root
        if root in self._unreadable:
            return ANYTHING
        if root == place.spec.id:
            self._say(at, f"step {root} refers to itself")
            return None
        other = self._specs.get(root)
        if other is None:
            hint = did_you_mean(root, [*place.variables, *self._specs, ROOT, RUN])
            self._say(at, f"{reference}: there is no step or variable '{root}'{hint}")
            return None
        kind = self._registry.steps.get(other.uses)
        if kind is None:
            return ANYTHING
        is_process = kind.lifetime is Lifetime.PROCESS
        if is_process and place.takes in (Takes.VALUE, Takes.EACH):
            self._say(
                at, f"{reference} lives only as long as its process ({kind.name}): this field takes values"
            )
            return None
        if not is_process and place.takes is Takes.PROCESS:
            self._say(
                at, f"{reference} is a value ({kind.name}), and this field takes what a running step gives"
            )
            return None
        shape = Typed(kind.Out)
        # An `each` is read before the step has keys, so nothing pairs yet.
        paired = 0 if place.takes is Takes.EACH else place.spec.paired(other)
        return part_of(list_of(shape) if paired < len(other.each) else shape, reference.path, root)

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))
