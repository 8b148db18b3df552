"""Which kinds of steps and of sections are installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from pydantic import JsonValue, ValidationError

from runner.events.step_report import Statement, StepReport
from runner.step.section import Section
from runner.step.step import AnyStep
from runner.step.tools import Tool


class Registry:
    """The kinds of steps and sections that are installed, by the names used in YAML."""

    def __init__(self, steps: Mapping[str, AnyStep], sections: Mapping[str, type[Section]]) -> None:
        self.steps = dict(steps)
        self.sections = dict(sections)
        self.renamed = {old: name for name, step in self.steps.items() for old in step.formerly}
        """Earlier names of steps, and what each is called now."""

    @classmethod
    def installed(cls) -> Registry:
        """From the entry-point groups `sendense.steps` (a Step class) and `sendense.sections` (a Section
        class)."""
        steps = {entry.name: entry.load()() for entry in entry_points(group="sendense.steps")}
        sections = {entry.name: entry.load() for entry in entry_points(group="sendense.sections")}
        return cls(dict(sorted(steps.items())), dict(sorted(sections.items())))

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
