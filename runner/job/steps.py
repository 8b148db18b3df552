"""The `steps` of a job file → StepSpecs, as far as each can be read without knowing the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, JsonValue

from runner.base.errors import Problem
from runner.base.model import JobModel
from runner.base.yaml_nodes import Location, Mapping, Node, Scalar, Sequence, kind_of
from runner.job.expressions import NAME, ExpressionError, whole
from runner.job.field_roles import with_absolute_paths
from runner.job.model import DEFAULT_RETRIES, StepSpec, When
from runner.job.problems import Written, check_value
from runner.step.registry import Registry

ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
"""Ids become parts of file names."""

RESERVED = ("vars", "run")

EACH_EXAMPLE = '{disk: "${{ discover.disks }}"}'


class StepEntry(JobModel):
    """One entry of `steps`, as it is written."""

    id: str
    """What other steps refer to it by: a letter, then letters, digits, - and _."""
    uses: str
    """The kind of step; `sendense steps` lists them."""
    with_: dict[str, JsonValue] = {}
    """Its inputs; `sendense steps KIND` shows them. `${{ id.field }}` is what another step gives."""
    each: dict[str, str] = {}
    """One node for each element of a list: a variable, and the list as an expression."""
    needs: tuple[str, ...] = ()
    """Steps that it waits for though it refers to none of them."""
    when: When = "success"
    """`always` runs it also after a failure."""
    retries: Annotated[int, Field(ge=0)] = DEFAULT_RETRIES
    """How often what may heal is tried again in a row without progress."""


@dataclass(frozen=True)
class WrittenStep:
    """A step and where its parts stand."""

    spec: StepSpec
    node: Mapping

    def at(self, *path: str | int, key: bool = False) -> Location:
        return Written(self.node, {}).at(path, key=key)

    @property
    def with_node(self) -> Mapping:
        """Where `with` is absent, an empty one in the step's place."""
        entry = self.node.entries.get("with")
        return entry.node if entry and isinstance(entry.node, Mapping) else Mapping(self.node.at, {}, 1)


@dataclass(frozen=True)
class WrittenSteps:
    """`unreadable`: ids of steps that are left out, since something is wrong with them (that has been
    said)."""

    steps: tuple[WrittenStep, ...]
    unreadable: frozenset[str]


def read_steps(
    node: Node, registry: Registry, absolute: Callable[[str, Location], str], problems: list[Problem]
) -> WrittenSteps:
    """`absolute` makes a path absolute that stands at that place; `problems` gathers what is wrong."""
    if not isinstance(node, Sequence):
        problems.append(node.at.problem(f"steps should be a list (- id: …), not {kind_of(node)}"))
        return WrittenSteps((), frozenset())
    if not node.items:
        problems.append(node.at.problem("a job needs at least one step"))
    steps: list[WrittenStep] = []
    unreadable: set[str] = set()
    for number, item in enumerate(node.items, 1):
        if not isinstance(item, Mapping):
            problems.append(
                item.at.problem(f"a step should be a mapping (id: …, uses: …), not {kind_of(item)}")
            )
            continue
        name = _name(item)
        owner = f"step {name}" if name else f"step number {number}"
        # Each step is read alone, so that one that cannot be read takes no other's mistakes with it.
        value = {key: entry.node.plain() for key, entry in item.entries.items()}
        for optional in ("with", "each", "needs"):
            if value.get(optional, ...) is None:
                del value[optional]  # `with:` with nothing below it
        entry, found = check_value(StepEntry, value, Written(item, {}), owner)
        problems += found
        if entry is None:
            unreadable.add(name)
            continue
        step = _step(entry, item, registry, absolute)
        steps.append(step)
        problems += _name_problems(step) + _each_problems(step)
    problems += _duplicates(steps)
    return WrittenSteps(tuple(steps), frozenset(unreadable))


def _step(
    entry: StepEntry, node: Mapping, registry: Registry, absolute: Callable[[str, Location], str]
) -> WrittenStep:
    kind = registry.steps.get(entry.uses)
    with_: dict[str, JsonValue] = entry.with_
    if kind is not None and entry.with_:
        made = with_absolute_paths(kind.In, node.entries["with"].node, absolute)
        assert isinstance(made, dict)  # as StepEntry says
        with_ = made
    spec = StepSpec(
        id=entry.id,
        uses=entry.uses,
        with_=with_,
        each=tuple((variable, _canonical(expression)) for variable, expression in entry.each.items()),
        needs=entry.needs,
        when=entry.when,
        retries=entry.retries,
        location=node.at,
    )
    return WrittenStep(spec, node)


def _canonical(expression: str) -> str:
    """Two steps pair if their expressions are equal; spaces make no difference."""
    try:
        return str(whole(expression) or expression)
    except ExpressionError:
        return expression  # `_each_problems` says it


def _name_problems(step: WrittenStep) -> list[Problem]:
    name = step.spec.id
    if name in RESERVED:
        return [step.at("id").problem(f"'{name}' cannot be the id of a step: expressions use it")]
    if not ID.fullmatch(name):
        return [
            step.at("id").problem("an id starts with a letter and has at most 64 letters, digits, - and _")
        ]
    return []


def _each_problems(step: WrittenStep) -> list[Problem]:
    problems = []
    for variable, expression in step.spec.each:
        if variable in RESERVED or not NAME.fullmatch(variable):
            problems.append(
                step.at("each", variable, key=True).problem(f"'{variable}' cannot be the name of a variable")
            )
        try:
            if whole(expression) is None:
                problems.append(step.at("each", variable).problem(f"each takes expressions: {EACH_EXAMPLE}"))
        except ExpressionError as error:
            problems.append(step.at("each", variable).problem(error.message))
    return problems


def _duplicates(steps: list[WrittenStep]) -> list[Problem]:
    first: dict[str, WrittenStep] = {}
    problems = []
    for step in steps:
        other = first.setdefault(step.spec.id, step)
        if other is not step:
            line = other.spec.location.line
            problems.append(
                step.at("id").problem(f"the id '{step.spec.id}' stands twice, first in line {line}")
            )
    return problems


def _name(item: Mapping) -> str:
    """What the step calls itself; empty where it does not."""
    entry = item.entries.get("id")
    named: Any = entry.node.value if entry and isinstance(entry.node, Scalar) else None
    return named if isinstance(named, str) else ""
