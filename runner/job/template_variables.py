"""The variables of the job templates: what stands in the block ``{#- variables … #}`` at the head of each is
all that is known of them, and nothing of it stands anywhere else.

    vm: {of: discover.vm, about: …}                           needed; of the type of that field of a step
    hold: {of: snapshot.hold, default: 12h, about: …}         with a default
    points: {type: list of text, about: …}                    of a type of its own
    node: {only-with: against_source, of: …, about: …}        there only where that other one is set
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from runner.base.annotations import fields, inside
from runner.base.errors import UsageError
from runner.base.model import JobModel
from runner.base.render import template_front
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


class Variable(JobModel):
    name: str
    about: str
    """What it means, in sentences."""
    default: JsonValue = None
    """None also where it is needed."""
    only_with: str | None = None
    """A variable without which this one means nothing, and is not needed."""
    of: str | None = None
    """``snapshot.hold``: the field of a step whose type it has."""
    type: str | None = None
    """One of `TYPES`, if it is of no field."""

    @property
    def needed(self) -> bool:
        return "default" not in self.model_fields_set

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
        assert isinstance(value, dict), "a template declares its variables as mappings"
        found[name] = Variable.from_json_value({"name": name, **value})
    return found


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
