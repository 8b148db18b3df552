"""A job file that names a template: its variables put in, what comes out merged below the file, and what is
wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from runner.base.annotations import bare
from runner.base.render import job_templates, render_template, template_text
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Entry, Location, Node, Scalar
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.problems import Written, check_value
from runner.job.selection import EACH
from runner.job.sources import Part, Sources
from runner.job.spelling import Spelling
from runner.job.template_variables import MissingVariables, Variable, declared, settled
from runner.job.top_level import named
from runner.job.variables import Variables, scalars, variables_in
from runner.step.registry import Registry

OTHER = EACH[::-1]
"""What a template is rendered for once more."""


class TemplateReader:
    def __init__(
        self,
        path: Path,
        registry: Registry,
        sources: Sources,
        variables: Variables,
        spelling: Spelling,
        overrides: Mapping[str, str],
    ) -> None:
        self._path = path
        self._registry = registry
        self._sources = sources
        self._variables = variables
        self._spelling = spelling
        self._overrides = overrides
        self._problems = sources.problems

    def applied(self, part: Part, node: Node) -> Part:
        """`part` merged over what the template that `node` names gives."""
        known = job_templates()
        if not isinstance(node, Scalar) or node.value not in known:
            hint = did_you_mean(node.text, known) if isinstance(node, Scalar) else ""
            self._say(node.at, f"template should be one of {', '.join(known)}{hint}")
            return part
        name = node.text
        part = self._with_variables(part, declared(name))
        try:
            values = settled(name, self._variables.values)
            text = render_template(name, values)
        except MissingVariables as error:
            self._say(node.at, error.message)
            self._check_unused(part, part, name)
            return part
        # Part of the job as a file is: a new version of this program may bring another template.
        self._sources.add_to_digest(f"template {name}", template_text(name).encode())
        fragment = self._sources.fragment(text, f"template {name}", self._path.resolve().parent)
        if fragment is None:
            return part
        if EACH in values.values() and not self._is_for_each(name, values, text, fragment):
            self._say(
                node.at,
                f"the template '{name}' makes other steps of other items, so no set can use it: "
                "write the steps",
            )
        merged = self._sources.merge(fragment, part)
        self._variables.set(named(merged.entries, "vars"), self._overrides)
        readable = sorted(declared(name).keys() | named(merged.entries, "vars").keys())
        self._variables.check_overrides(self._overrides, readable)
        self._check_unused(part, merged, name)
        # Not the template's own defaults, which a test holds to their types.
        for variable in declared(name).values():
            entry = named(merged.entries, "vars").get(variable.name)
            if entry is not None and (
                entry.at.file != f"template {name}" or variable.name in self._overrides
            ):
                self._check_variable(variable, entry)
        return merged

    def _is_for_each(self, name: str, values: Mapping[str, JsonValue], text: str, fragment: Part) -> bool:
        """Whether it gives the same steps whatever the item of a set is: its id is in their expressions
        only."""
        other = {key: OTHER if value == EACH else value for key, value in values.items()}
        if render_template(name, other) != text.replace(EACH, OTHER):
            return False
        steps = fragment.entries.get("steps")
        return steps is None or not any(EACH in scalar.text for scalar in scalars(steps.node))

    def _with_variables(self, part: Part, known: Mapping[str, Variable]) -> Part:
        """With the template's variables, and what their values have below them, as they are spelled."""

        def type_of(name: str) -> Any:
            # Of those alone that are set: it imports the step that has the field.
            return known[name].annotation(self._registry) if name in known else Any

        overrides = {
            self._spelling.name(name, known, self._variables.at[name]): text
            for name, text in self._overrides.items()
        }
        entry = part.entries.get("vars")
        if entry is not None and isinstance(entry.node, MappingNode):
            found = self._spelling.keys(entry.node, known, "_")
            nodes = {
                name: Entry(one.at, self._spelling.of(type_of(name), one.node))
                for name, one in found.entries.items()
            }
            vars_ = MappingNode(found.at, nodes, found.weight)
            part = Part({**part.entries, "vars": Entry(entry.at, vars_)}, part.at)
        self._overrides = overrides
        # Here alone: what the template makes of them is text already.
        texts = {
            name: _as_text(text) for name, text in overrides.items() if _takes_text(type_of(name), part, name)
        }
        self._variables.set(named(part.entries, "vars"), {**overrides, **texts})
        return part

    def _check_variable(self, variable: Variable, entry: Entry) -> None:
        """That the value is of its type, said where it was set."""
        name, at = variable.name, self._variables.at[variable.name]
        owner, node = f"vars.{name}", entry.node if name not in self._overrides else Scalar(at, None, "")
        annotation, value = variable.annotation(self._registry), self._variables.values[name]
        _, found = check_value(annotation, value, Written(node, {}), owner)
        for problem in found:
            words = problem.message.removeprefix(f"{owner}: ")
            sentence = f"{owner} {words}" if words.startswith(("should ", "is ")) else problem.message
            self._problems.append(replace(problem, message=sentence))

    def _check_unused(self, part: Part, merged: Part, template: str) -> None:
        """A misspelt variable of a template would otherwise be a default that nobody asked for."""
        readable = declared(template).keys()
        used = readable | self._sources.used | variables_in(entry.node for entry in merged.entries.values())
        for name, entry in named(part.entries, "vars").items():
            if entry.at.file == str(self._path) and name not in used:
                hint = did_you_mean(name, readable) or f"; it has {', '.join(sorted(readable))}"
                self._say(entry.at, f"the template '{template}' has no variable '{name}'{hint}")

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))


def _takes_text(annotation: Any, part: Part, name: str) -> bool:
    """Whether a variable takes nothing but text, and is not set to one in a file, which says as much."""
    entry = named(part.entries, "vars").get(name)
    told = entry is not None and isinstance(entry.node, Scalar) and isinstance(entry.node.value, str)
    return bare(annotation) is str and not told


def _as_text(text: str) -> str:
    """As a text in YAML: a VM may be called 2024."""
    return (
        text
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        else json.dumps(text, ensure_ascii=False)
    )
