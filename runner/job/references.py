"""Where a reference leads and what it gives there, known before anything runs.

Pairing and joining count: between siblings of one `each`, ``${{ image }}`` is an Image; in a step without
that `each` it is a list of them.

What is compared is what is costly to find late: whether a field of a step's output exists, whether one model
stands for another, one element for a list, a value for a process. Which texts and numbers a field takes, its
model says of the value itself, at the plan or when the node runs.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from runner.base.annotations import element, field, fields, is_open, members, model_of, spelled
from runner.base.errors import Problem
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Location, Node, Scalar
from runner.job.expressions import ExpressionError, Reference, look_up, parse, whole
from runner.job.model import StepSpec
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
    variables: Mapping[str, Any]
    """Annotations, by the names that its `each` gives."""
    takes: Takes


def whole_of(node: Node) -> Reference | None:
    """The reference that is all of the node; None also for a bad expression."""
    try:
        return whole(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
    except ExpressionError:
        return None


def elements_of(annotation: Any) -> Any | None:
    """The annotation of a list's elements, where any member of a union is a list; else None."""
    found = [inner for each in members(annotation) if (inner := element(each)) is not None]
    return _union(found) if found else None


def may_fit(given: Any, target: Any) -> bool:
    """Whether a value of one annotation may be one of another, as far as models and lists tell; with a union
    on either side one member is enough."""
    return any(_may_be(each, other) for each in members(given) for other in members(target))


def _may_be(given: Any, target: Any) -> bool:
    if is_open(given) or is_open(target):
        return True
    model, wanted = model_of(given), model_of(target)
    if model is not None and wanted is not None:
        return issubclass(model, wanted)
    item, wanted_item = element(given), element(target)
    if item is not None and wanted_item is not None:
        return may_fit(item, wanted_item)
    return _kind(given) == _kind(target)


def _kind(annotation: Any) -> str:
    if element(annotation) is not None:
        return "list"
    return "scalar" if model_of(annotation) is None and field(annotation, "") is None else "mapping"


def _part_of(annotation: Any, path: Sequence[str | int], walked: str) -> Any:
    """What `path` leads to; `walked` is how messages call where it begins. Raises ExpressionError, whose
    message is to come after the whole reference."""
    for part in path:
        look = [
            element(each, part) if isinstance(part, int) else field(each, part)
            for each in members(annotation)
        ]
        found = [each for each in look if each is not None]
        if not found:
            raise ExpressionError(_absent(annotation, part, walked))
        annotation = _union(found)
        walked += f"[{part}]" if isinstance(part, int) else f".{part}"
    return annotation


def _absent(annotation: Any, part: str | int, walked: str) -> str:
    if isinstance(part, int):
        return f"{walked} has no element [{part}]: it is {spelled(annotation)}"
    models = [model for each in members(annotation) if (model := model_of(each)) is not None]
    if known := [name for model in models for name in fields(model)]:
        hint = did_you_mean(part, known) or f"; it has {', '.join(known)}"
        return f"{walked} has no field '{part}'{hint}"
    hint = "; it is one for each, so take an element: [0]" if element(annotation) is not None else ""
    return f"{walked} has no field '{part}': it is {spelled(annotation)}{hint}"


def _union(annotations: Sequence[Any]) -> Any:
    return Union[tuple(annotations)]  # noqa: UP007 - made at run time


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

    def in_text(self, place: Place, node: Scalar) -> list[tuple[Reference, Any]]:
        """Those of a text that lead somewhere, with the annotations of what they give; what is wrong with
        them is said."""
        if not isinstance(node.value, str) or "${{" not in node.value:
            return []
        try:
            found = [part for part in parse(node.value) if isinstance(part, Reference)]
        except ExpressionError as error:
            self._say(node.at, error.message)
            return []
        given = [(reference, self.given_by(place, reference, node.at)) for reference in found]
        return [(reference, annotation) for reference, annotation in given if annotation is not None]

    def given_by(self, place: Place, reference: Reference, at: Location) -> Any | None:
        """The annotation of what it gives; None, and said, if it leads nowhere, or where such a field may not
        look."""
        root = reference.root
        try:
            if root == ROOT and not self._variables.knows(reference, at):
                return None
            if root not in place.variables and root not in (ROOT, RUN):
                return self._of_step(place, reference, at)
            annotation = self._of_value(place, reference)
        except ExpressionError as error:
            self._say(at, f"{reference}: {error.message}")
            return None
        if place.takes is Takes.PROCESS:
            self._say(at, f"{reference} is a value, and this field takes what a running step gives")
            return None
        return annotation

    def _of_value(self, place: Place, reference: Reference) -> Any:
        """Of what is no step: a variable of `each`, one of the job's, or what is known of the run."""
        root = reference.root
        if root in place.variables:
            return _part_of(place.variables[root], reference.path, root)
        if root == ROOT:
            value = look_up(reference, self._variables.scope)
            return tuple if isinstance(value, list) else type(value)
        if len(reference.path) != 1 or reference.path[0] not in RUN_FIELDS:
            raise ExpressionError(f"of a run there are {' and '.join(f'run.{name}' for name in RUN_FIELDS)}")
        return str

    def _of_step(self, place: Place, reference: Reference, at: Location) -> Any | None:
        root = reference.root
        if root in self._unreadable:
            return Any
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
            return Any
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
        # An `each` is read before the step has keys, so nothing pairs yet.
        paired = 0 if place.takes is Takes.EACH else place.spec.paired(other)
        given: Any = tuple[kind.Out, ...] if paired < len(other.each) else kind.Out  # type: ignore[name-defined]
        return _part_of(given, reference.path, root)

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))
