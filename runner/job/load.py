"""YAML → Job: every mistake at once, each with file, line, column and, where one is close, what was meant.

sources              files and what they include, merged into one mapping whose nodes know their places
spelling             keys in the one spelling that all below knows
variables            `vars`, with what --set gave
template             rendered with them, and merged below the file
selection            what a set gives to its children
top_level            all keys but the steps
field_roles          paths made absolute, names of hosts and entries looked up
problems             a value against its pydantic model: errors become sentences with places
steps, step_checks   each step alone; then references, through `references`, and the graph
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from runner.base.errors import JobFileError, Problem
from runner.base.render import job_templates
from runner.base.yaml_nodes import Entry, Location, Scalar, kind_of
from runner.job.expressions import ExpressionError, evaluate
from runner.job.field_roles import Surroundings
from runner.job.model import LOCAL, Job
from runner.job.problems import each_once
from runner.job.selection import EACH, Given, given_by
from runner.job.sources import KEYS, Part, Sources, beside, content_of
from runner.job.spelling import Spelling
from runner.job.step_checks import check_steps
from runner.job.steps import WrittenSteps, read_steps
from runner.job.template import TemplateReader
from runner.job.template_variables import declared
from runner.job.top_level import TopLevel, named, spelled
from runner.job.variables import Unsettled, Variables, only_variables, variables_in
from runner.step.registry import Registry
from runner.step.section import Section

MAX_NAME = 200
"""Characters; a file name has 255 bytes."""


def load(
    path: Path,
    registry: Registry,
    overrides: Mapping[str, str],
    *,
    part: bool = False,
    content: Callable[[Path], bytes] = content_of,
) -> Job:
    """The job of the file at `path`; `overrides` are variables by name, as texts. `part`: a file without
    steps, as jobs include, will do: its hosts and sections are asked for. `content` reads the files. Raises
    JobFileError with every problem."""
    return _Loader(path, registry, overrides, part, content).job()


def settable(
    path: Path,
    registry: Registry,
    overrides: Mapping[str, str],
    content: Callable[[Path], bytes] = content_of,
) -> dict[str, str]:
    """Those of `overrides` whose variables the job of that file has: of several jobs each is given its own.
    Of a file that cannot be read all of them, and `load` says why."""
    sources = _sources(registry, overrides, content)
    try:
        part = sources.read(path)
    except JobFileError:
        return dict(overrides)
    if sources.problems:
        return dict(overrides)
    known = set(named(part.entries, "vars"))
    template = part.entries.get("template")
    if template is not None and isinstance(template.node, Scalar) and template.node.text in job_templates():
        known |= declared(template.node.text).keys()
    spelled_alike = {name.replace("-", "_") for name in known}
    return {name: text for name, text in overrides.items() if name.replace("-", "_") in spelled_alike}


def is_part(path: Path, registry: Registry) -> bool:
    """Whether the file is none but for jobs to include. What cannot be read is taken for a job, and `load`
    says why."""
    sources = _sources(registry, {})
    try:
        part = sources.read(path)
    except JobFileError:
        return False
    return not sources.problems and part.entries.keys().isdisjoint(("name", "steps", "template"))


def _sources(
    registry: Registry, overrides: Mapping[str, str], content: Callable[[Path], bytes] = content_of
) -> Sources:
    return Sources(("vars", "hosts", *registry.sections), (*KEYS, *registry.sections), overrides, content)


class _Loader:
    def __init__(
        self,
        path: Path,
        registry: Registry,
        overrides: Mapping[str, str],
        part: bool,
        content: Callable[[Path], bytes],
    ) -> None:
        self._path = path
        self._may_be_part = part
        self._registry = registry
        self._overrides = overrides
        self._sources = _sources(registry, overrides, content)
        self._problems: list[Problem] = self._sources.problems
        self._variables = Variables(self._problems)
        self._spelling = Spelling()
        self._template = TemplateReader(
            path, registry, self._sources, self._variables, self._spelling, overrides
        )
        self._given: Mapping[str, Given] = {}

    def job(self) -> Job:
        part = self._read()
        # Half a file would be full of names that are missing only because the other half could not be read.
        self._raise_problems()
        entries = part.entries
        # Also entries with mistakes of their own: who names one of them has made none.
        around = Surroundings(
            hosts=(LOCAL, *(name for name in named(entries, "hosts") if name != LOCAL)),
            sections={name: list(named(entries, name)) for name in self._registry.sections},
        )
        name = self._name(part)
        top = TopLevel(entries, self._registry, self._variables, around, self._absolute, self._problems)
        keys = top.keys()
        steps = self._steps(part)
        if "select" in entries:
            self._check_used(part)
        check_steps(steps, self._registry, self._variables, around, self._problems)
        self._raise_problems()
        return Job(
            name=name,
            vars={key: value for key, value in self._variables.values.items() if key not in self._given},
            hosts=top.hosts,
            local_limits=top.local_limits,
            sections=top.sections,
            state=top.state,
            steps=tuple(step.spec for step in steps.steps),
            file=str(self._path),
            digest=self._sources.digest,
            digests=self._sources.digests,
            notes=tuple(dict.fromkeys((*self._spelling.notes, *self._remarks(part, steps, top.sections)))),
            given=self._written(),
            **keys,
        )

    def _remarks(
        self, part: Part, steps: WrittenSteps, sections: Mapping[str, Mapping[str, Section]]
    ) -> Iterator[Problem]:
        named = [(entry, name) for entries in sections.values() for name, entry in entries.items()]
        if not steps.steps or not any(entry.remarkable for entry, _ in named):
            return
        from runner.job.remarks import Remarks

        template, variables = part.entries.get("template"), self._variables
        at = None if template is None else template.at
        remarks = Remarks(steps, self._registry, variables.scope, variables.at, at)
        for entry, name in named:
            yield from remarks.of(entry, name)

    def _check_used(self, part: Part) -> None:
        """That the runs of a set differ."""
        for name, given in self._given.items():
            steps = [part.entries["steps"].node] if "steps" in part.entries else []
            if given.value is None and steps and name not in variables_in(steps):
                uses = f"${{{{ vars.{name} }}}}"
                self._say(given.at, f"no step uses {uses}: all runs of this set would be the same")

    def _written(self) -> frozenset[str]:
        # A template's defaults are variables too once it was merged, and a new version of it has others: a
        # run is still that of this job if what its user wrote is the same.
        templates = {f"template {name}" for name in job_templates()}
        return frozenset(name for name, at in self._variables.at.items() if at.file not in templates)

    def _read(self) -> Part:
        part = self._spelled(self._sources.read(self._path))
        self._given = given_by(part.entries)
        if self._given:
            self._check_given(part)
            self._variables.give(self._given)
        # Before the template, which is rendered with them.
        self._variables.set(named(part.entries, "vars"), self._overrides)
        template = part.entries.get("template")
        if template is None:
            self._variables.check_overrides(self._overrides, named(part.entries, "vars"))
        elif not self._problems:  # else it would miss variables of a file that could not be read
            part = self._template.applied(part, template.node)
        return part

    def _spelled(self, part: Part) -> Part:
        """With the fields of all keys as they are spelled."""
        entries = spelled(part.entries, self._spelling, self._registry)
        if (steps := entries.get("steps")) is not None:
            entries["steps"] = Entry(steps.at, self._spelling.steps(steps.node, self._registry))
        return Part(entries, part.at)

    def _check_given(self, part: Part) -> None:
        """That nobody sets what the set itself gives to each child. What a site has for its other jobs, the
        job's own overrides as ever."""
        select = part.entries["select"].at
        for name in self._given:
            entry = named(part.entries, "vars").get(name)
            if entry is not None and entry.at.file in (select.file, str(self._path)):
                where = "" if entry.at.file == select.file else f"{select.file}, "
                self._say(
                    entry.at, f"vars.{name} is given by select ({where}line {select.line}): remove it here"
                )
            if name in self._overrides:
                self._say(
                    Location(f"--set {name}", 0, 0),
                    f"a set gives {name} to each of its runs: name the ones to run with --only",
                )

    def _name(self, part: Part) -> str:
        entry = part.entries.get("name")
        if entry is None:
            if "steps" in part.entries or "select" in part.entries:
                self._say(part.at, "name is missing: runs and their state are kept under it")
            return ""
        node = entry.node
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            quotes = ": put it in quotes" if isinstance(node, Scalar) and node.text else ""
            self._say(node.at, f"name should be text, not {kind_of(node)}{quotes}")
            return ""
        if EACH in node.value:  # a template's
            at = part.entries["select"].at
            self._say(at, "a set needs a name: the records of its runs are kept under it")
            return ""
        try:
            name = self._variables.settled(node, node.value, "the name of a job")
        except Unsettled:
            return ""
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            at, which = self._culprit(node, str(name))
            self._say(
                at,
                f"{which} is text of 1 to {MAX_NAME} characters, without line breaks and control characters",
            )
        return str(name)

    def _culprit(self, node: Scalar, name: str) -> tuple[Location, str]:
        """What makes a job's name no name: one of its variables, where that was set (the name itself may be a
        template's line, which nobody wrote here), else the name."""
        for variable, value in self._variables.values.items():
            bad = isinstance(value, str) and (not value.isprintable() or len(value) > MAX_NAME)
            if bad and str(value) in name:
                return self._variables.at[variable], f"vars.{variable} stands in the job's name, which"
        return node.at, "a name"

    def _steps(self, part: Part) -> WrittenSteps:
        entry = part.entries.get("steps")
        if entry is None:
            if "name" in part.entries and not self._may_be_part:
                self._say(part.at, "steps are missing: write steps, or a template")
            elif not self._may_be_part:
                self._say(
                    part.at,
                    "this is a part that jobs include, not a job: validate a job that includes it; a job "
                    "has a name and steps, or a template that has both",
                )
            return WrittenSteps((), frozenset())
        return read_steps(entry.node, self._registry, self._absolute, self._problems)

    def _absolute(self, path: str, at: Location) -> str:
        """Where the path is known now; what is wrong with an expression is said where expressions are
        checked."""
        try:
            value = evaluate(path, self._variables.scope) if only_variables(path) else None
        except ExpressionError:
            return path
        return beside(self._sources.directories[at.file], value) if isinstance(value, str) and value else path

    def _raise_problems(self) -> None:
        if self._problems:
            # As one reads: the job's own file first, then what it includes, each from its top.
            place = {file: number for number, file in reversed(list(enumerate(self._sources.files)))}
            last = len(place)
            raise JobFileError(
                sorted(
                    each_once(self._problems),
                    key=lambda each: (place.get(each.file, last), each.line, each.column),
                )
            )

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))
