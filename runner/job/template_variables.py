"""The variables of the job templates: what stands in the block ``{#- variables … #}`` at the head of each is
all that is known of them, and nothing of it stands anywhere else.

    vm: {of: discover.vm, about: …}                           needed; of the type of that field of a step
    hold: {of: snapshot.hold, default: 12h, about: …}         with a default
    points: {type: list of text, about: …}                    of a type of its own
    node: {only-with: against_source, of: …, about: …}        there only where that other one is set
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from runner.base.annotations import fields, inside
from runner.base.errors import UsageError
from runner.base.model import JobModel, load_value
from runner.base.render import template_front, template_summary
from runner.base.yaml_nodes import compose
from runner.step.registry import Registry

TYPES: Mapping[str, Any] = {"text": str, "list of text": tuple[str, ...], "true or false": bool}


class MissingVariables(UsageError):
    """`names`: variables that the template needs and nobody gave."""

    def __init__(self, template: str, names: tuple[str, ...]) -> None:
        self.names = names
        several = "s" if len(names) > 1 else ""
        super().__init__(
            f"the template '{template}' needs the variable{several} {', '.join(names)}: set in vars"
        )


class _Declaration(JobModel):
    about: str
    of: str | None = None
    type: str | None = None
    default: JsonValue = None
    only_with: str | None = None


@dataclass(frozen=True)
class Variable:
    name: str
    about: str
    """What it means, in sentences."""
    needed: bool
    default: JsonValue
    """None also where it is needed."""
    only_with: str | None
    """A variable without which this one means nothing, and is not needed."""
    of: str | None
    """``snapshot.hold``: the field of a step whose type it has."""
    type: str | None
    """One of `TYPES`, if it is of no field."""

    def annotation(self, registry: Registry) -> Any:
        """With its metadata. Any where the step is not installed, which is said of the step."""
        if self.of is None:
            return TYPES[str(self.type)]
        step, first, *rest = self.of.split(".")
        if step not in registry.steps:
            return Any
        found = fields(registry.steps[step].In)[first]
        for name in rest:
            found = inside(found, name)
        return found


@lru_cache
def declared(template: str) -> Mapping[str, Variable]:
    """By name, in the order in which they stand there."""
    front = compose(template_front(template), f"template {template}").plain()
    assert isinstance(front, dict)
    found = {}
    for name, value in front.items():
        made: _Declaration = load_value(_Declaration, value)
        assert isinstance(value, dict)
        found[name] = Variable(
            name, made.about, "default" not in value, made.default, made.only_with, made.of, made.type
        )
    return found


def summary(template: str) -> str:
    """What the template is for: the comment that it begins with."""
    return template_summary(template)


def settled(template: str, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The values of all variables that mean something: of those `given`, and the defaults. Raises
    MissingVariables."""
    values: dict[str, JsonValue] = {}
    missing = []
    for name, variable in declared(template).items():
        if variable.only_with is not None and not values.get(variable.only_with):
            continue
        if name not in given and variable.needed:
            missing.append(name)
        values[name] = given.get(name, variable.default)
    if missing:
        raise MissingVariables(template, tuple(missing))
    return values
