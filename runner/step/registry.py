"""Which kinds of steps and of sections are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from pydantic import JsonValue, ValidationError

from runner.base.plugins import installed, load
from runner.events.step_report import Statement, StepReport
from runner.step.section import Section
from runner.step.step import AnyStep
from runner.step.tools import Tool

Kind = TypeVar("Kind")


class Installed(Mapping[str, Kind]):
    """What packages bring by entry points of a group, by name in order. Each is imported when it is asked
    for: a job of backups need not wait for what restores, nor a list of names for any of them. `made`: from
    what the entry point names."""

    def __init__(self, group: str, made: Callable[[Any], Kind]) -> None:
        self._entries = installed(group)
        self._made = made
        self._known: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        if name not in self._known:
            self._known.setdefault(name, self._made(load(self._entries[name])))
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class Registry:
    """The kinds of steps and sections that are installed, by the names used in YAML."""

    def __init__(self, steps: Mapping[str, AnyStep], sections: Mapping[str, type[Section]]) -> None:
        self.steps = steps
        self.sections = sections

    @classmethod
    def installed(cls) -> Registry:
        """From the entry-point groups `sendense.steps` (a Step class) and `sendense.sections` (a Section
        class)."""
        return cls(
            Installed("sendense.steps", lambda step: step()),
            Installed("sendense.sections", lambda section: section),
        )

    @cached_property
    def renamed(self) -> dict[str, str]:
        """Earlier names of steps, and what each is called now."""
        return {old: name for name, step in self.steps.items() for old in step.formerly}

    def tools(self) -> list[Tool]:
        """Of all steps and sections, each once, by name."""
        told = [kind.tools for kind in self.steps.values()] + [kind.tools for kind in self.sections.values()]
        by_name = {tool.name: tool for tools in told for tool in tools}
        return [by_name[name] for name in sorted(by_name)]

    def makes(self) -> list[str]:
        """The keys of lists of what a run made, of all steps."""
        return sorted({key for step in self.steps.values() for key in step.makes})

    def report(self, step: str, output: Mapping[str, JsonValue]) -> StepReport:
        """What `step` says of an output that was written down; nothing if no such step is installed (any
        more), and that it is not told where another version of the step wrote it."""
        if step not in self.steps:
            return StepReport()
        try:
            out = self.steps[step].Out.from_json_value(dict(output))
        except ValidationError:
            text = f"The result of a step {step} was recorded by another version and is not shown."
            return StepReport(statements=(Statement(about="noted", text=text),))
        return self.steps[step].report(out)
