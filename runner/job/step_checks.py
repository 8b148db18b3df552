"""What can be known of a job's steps before anything runs: that kinds, fields and references exist, and that
they may fit.

What refers to nothing but `vars` is checked as the value it has, anything else as far as `references` says.
"""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from runner.base.annotations import fields, inside, required, spelled
from runner.base.errors import Problem
from runner.base.suggestion import closest, did_you_mean
from runner.base.yaml_nodes import Location, Node, Scalar, Sequence
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.expressions import ExpressionError, Reference, evaluate, whole
from runner.job.field_roles import Surroundings
from runner.job.graph import CycleError, StepGraph, cycle_sentence
from runner.job.problems import Path, Written, check_value
from runner.job.references import Place, References, Takes, elements_of, may_fit, whole_of
from runner.job.steps import WrittenStep, WrittenSteps
from runner.job.variables import ROOT, Variables, only_variables, scalars
from runner.step.registry import Registry
from runner.step.step import AnyStep


def check_steps(
    written: WrittenSteps,
    registry: Registry,
    variables: Variables,
    around: Surroundings,
    problems: list[Problem],
) -> None:
    """Adds what is wrong to `problems`."""
    checks = _Checks(written, registry, variables, around, problems)
    for step in written.steps:
        checks.step(step)
    try:
        StepGraph([step.spec for step in written.steps], registry)
    except CycleError as error:
        places = {step.spec.id: step.spec.location for step in reversed(written.steps)}
        # A step that refers to itself has been told so.
        problems += [places[each[0]].problem(cycle_sentence(each)) for each in error.cycles if len(each) > 1]
    except ExpressionError:
        if not problems:  # else each bad expression has been said
            raise


class _Checks:
    def __init__(
        self,
        written: WrittenSteps,
        registry: Registry,
        variables: Variables,
        around: Surroundings,
        problems: list[Problem],
    ) -> None:
        # Of two steps with one id, which is told, the first is the one that others mean.
        self._specs = {step.spec.id: step.spec for step in reversed(written.steps)}
        self._unreadable = written.unreadable
        self._references = References(self._specs, written.unreadable, registry, variables, problems)
        self._registry = registry
        self._variables = variables
        self._around = around
        self._problems = problems

    def step(self, step: WrittenStep) -> None:
        spec = step.spec
        self._needs(step)
        variables = self._each(step)
        if (kind := self._registry.steps.get(spec.uses)) is not None:
            self._with(step, kind, variables)
            return
        if (now := self._registry.renamed.get(spec.uses)) is not None:
            self._say(step.at("uses"), f"the step '{spec.uses}' was renamed to '{now}': write uses: {now}")
        else:
            hint = did_you_mean(spec.uses, self._registry.steps) or "; `sendense steps` lists them"
            self._say(step.at("uses"), f"there is no step '{spec.uses}'{hint}")
        # Its fields are not known, but what they refer to is looked up all the same.
        for scalar in scalars(step.with_node):
            self._references.in_text(Place(spec, variables, Takes.ANYTHING), scalar)

    def _needs(self, step: WrittenStep) -> None:
        for index, name in enumerate(step.spec.needs):
            if name == step.spec.id:
                self._say(step.at("needs", index), f"step {name} needs itself")
            elif name not in self._specs and name not in self._unreadable:
                self._say(
                    step.at("needs", index), f"there is no step '{name}'{did_you_mean(name, self._specs)}"
                )

    def _each(self, step: WrittenStep) -> dict[str, Any]:
        """The step's variables and their annotations."""
        variables: dict[str, Any] = {}
        for name, expression in step.spec.each:
            at = step.at("each", name)
            if name in self._specs:
                key = step.at("each", name, key=True)
                self._say(key, f"the variable '{name}' has the name of a step: call it something else")
            try:
                reference = whole(expression)
            except ExpressionError:
                reference = None  # said when the step was read
            # A later variable may use an earlier one, not the other way round.
            place = Place(step.spec, dict(variables), Takes.EACH)
            given = self._references.given_by(place, reference, at) if reference else None
            variables[name] = Any if given is None else elements_of(given)
            if variables[name] is None:
                self._say(at, f"each takes a list, and {reference} is {spelled(given)}")
                variables[name] = Any
        return variables

    def _with(self, step: WrittenStep, kind: AnyStep, variables: dict[str, Any]) -> None:
        owner = f"step {step.spec.id}"
        inputs, live = fields(kind.In), fields(kind.Live)
        node = step.with_node
        settled: dict[str, JsonValue] = {}
        later: set[Path] = set()
        """Of what comes with the run, is wrong, or was misspelt: it is not missing."""
        for key, entry in node.entries.items():
            before = len(self._problems)
            if key in live:
                later.add((key,))
                self._live(Place(step.spec, variables, Takes.PROCESS), key, live[key], entry.node)
            elif key in inputs:
                self._value(Place(step.spec, variables, Takes.VALUE), key, inputs[key], entry.node)
                if len(self._problems) > before:
                    # Its value is not known, and pydantic would only say in other words what was just said.
                    later.add((key,))
                    continue
                try:
                    settled[key] = self._settled(step.spec.with_[key], (key,), later)
                except ExpressionError as error:  # such as a list inside a text
                    self._say(entry.node.at, error.message)
                    later.add((key,))
            elif key in kind.removed:
                self._say(entry.at, f"{owner}: {kind.name} no longer has '{key}': {kind.removed[key]}")
            else:
                known = [*inputs, *live]
                # Nor is the field missing that was meant.
                later.add((closest(key, known) or key,))
                hint = did_you_mean(key, known) or (f"; it has {', '.join(known)}" if known else "")
                self._say(entry.at, f"{owner}: {kind.name} has no field '{key}'{hint}")
        written = Written(node, self._variables.at)
        self._problems += check_value(kind.In, settled, written, owner, later=later)[1]
        self._problems += self._around.unknown_names(kind.In, settled, written, owner, later=later)
        for name in required(kind.Live):
            if (name,) not in later:
                self._say(node.at, f"{owner}: {name} is missing")

    def _settled(self, value: JsonValue, path: Path, later: set[Path]) -> JsonValue:
        """With its variables put in; what comes with the run stays as it is written, and its path is added to
        `later`. Raises ExpressionError."""
        match value:
            case dict():
                return {name: self._settled(item, (*path, name), later) for name, item in value.items()}
            case list():
                return [self._settled(item, (*path, index), later) for index, item in enumerate(value)]
            case _ if only_variables(value):
                return evaluate(value, self._variables.scope)
        later.add(path)
        return value

    def _live(self, place: Place, key: str, annotation: Any, node: Node) -> None:
        reference = whole_of(node)
        if reference is None:
            self._say(
                node.at, f"{key} takes what a running step gives: write its id as an expression, ${{{{ … }}}}"
            )
            return
        self._fit(key, annotation, reference, self._references.given_by(place, reference, node.at), node.at)

    def _value(self, place: Place, key: str, annotation: Any, node: Node) -> None:
        match node:
            case Sequence():
                for index, item in enumerate(node.items):
                    self._value(place, f"{key}[{index}]", inside(annotation, index), item)
            case MappingNode():
                for name, entry in node.entries.items():
                    self._value(place, f"{key}.{name}", inside(annotation, name), entry.node)
            case Scalar():
                found = self._references.in_text(place, node)
                # What a variable gives is checked as the value it has, and a text is made of anything.
                if whole_of(node) is not None and found and found[0][0].root != ROOT:
                    self._fit(key, annotation, *found[0], node.at)

    def _fit(self, key: str, annotation: Any, reference: Reference, given: Any | None, at: Location) -> None:
        if given is not None and not may_fit(given, annotation):
            self._say(at, f"{key} takes {spelled(annotation)}, and {reference} is {spelled(given)}")

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))
