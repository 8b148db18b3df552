"""The toy steps and a section that lists items, as a package that is installed for the processes of a test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.base.model import JobModel, Model
from runner.base.waiting import until
from runner.events.step_report import Alarm, StepReport
from runner.step.context import Answers, Context
from runner.step.items import Item, Items, LeftOut, Where
from runner.step.section import Section
from runner.step.step import Empty, Lifetime, Step
from tests.runner.toys import STEPS, trace

ROOT = Path(__file__).parents[2]


class WaitIn(JobModel):
    root: str
    size: int = 100


class Waited(Model):
    alarm: int = 0
    """The exit code of what it found; 0 for nothing."""


class Wait(Step[WaitIn, Empty, Waited]):
    """Works until the file `go` is there; fails if it says so. A file `alarm` is an exit code."""

    name, lifetime, In, Out, example = "wait", Lifetime.KEEP, WaitIn, Waited, ""

    def run(self, ctx: Context, inputs: WaitIn, live: Empty) -> Waited:
        go = Path(inputs.root) / "go"
        trace(inputs.root, f"wait {ctx.node}")
        ctx.progress("disk", "copied", inputs.size // 2, inputs.size)
        until(go.exists, stop=ctx.stop, timeout=60)
        if go.read_text():
            raise SendenseError(go.read_text())
        ctx.progress("disk", "copied", inputs.size, inputs.size)
        alarm = Path(inputs.root) / "alarm"
        return Waited(alarm=int(alarm.read_text()) if alarm.exists() else 0)

    def report(self, out: Waited) -> StepReport:
        if not out.alarm:
            return StepReport()
        return StepReport(alarm=Alarm(text="look at this", exit_code=out.alarm, brief="looked odd", noun="bed"))


class Rule(JobModel):
    name: str


class Garden(Section):
    """A directory with a file for each item, ``<id>``, whose text is its name."""

    path: str

    Rule: ClassVar[type[JobModel] | None] = Rule

    def census(self, ctx: Context, name: str, wheres: Sequence[Where]) -> Beds:
        return Beds(self.path)


class Beds:
    def __init__(self, path: str) -> None:
        self.key = path
        found = [(file.name, file.read_text()) for file in Path(path).iterdir()]
        self.everything = tuple(
            Item(key, name, f"/{name}/{key}", size=100) for key, name in sorted(found, key=lambda each: each[1])
        )
        self.unworkable: dict[str, str] = {}

    def select(self, where: Where) -> Items:
        from fnmatch import fnmatchcase

        def fits(item: Item, rules: Sequence[JobModel]) -> bool:
            return any(fnmatchcase(item.name, rule.name) for rule in rules)  # type: ignore[attr-defined]

        fitting = [item for item in self.everything if not where.any or fits(item, where.any)]
        chosen = tuple(item for item in fitting if not fits(item, where.none))
        left_out = tuple(LeftOut(item, "not", by_rule=True) for item in fitting if item not in chosen)
        unfit = [rule for rule in where.any if not any(fits(item, [rule]) for item in self.everything)]
        return Items(chosen, left_out, {f"name {rule.name}": "no item has it" for rule in unfit})  # type: ignore[attr-defined]

    def detailed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(items)

    def answers(self, item: Item) -> Answers:
        return Answers()


def install(directory: Path) -> dict[str, str]:
    """The environment in which processes find it: a package of entry points in `directory`."""
    info = directory / "toys-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
    kinds = {name: f"tests.runner.toys:{type(step).__name__}" for name, step in STEPS.items()}
    steps = "\n".join(f"{name} = {where}" for name, where in {**kinds, "wait": f"{__name__}:Wait"}.items())
    sections = f"gardens = {__name__}:Garden"
    (info / "entry_points.txt").write_text(f"[sendense.steps]\n{steps}\n[sendense.sections]\n{sections}\n")
    return {**os.environ, "PYTHONPATH": f"{directory}:{ROOT}"}


def job_text(root: Path | str, name: str = "toy", **more: JsonValue) -> str:
    """A job of toy steps on the directory `root`, as YAML."""
    import json

    base = {"root": str(root)}
    each = {"item": "${{ look.items }}"}
    steps = [
        {"id": "look", "uses": "look", "with": base},
        {"id": "hold", "uses": "hold", "with": base},
        {"id": "make", "uses": "make", "each": each, "with": {**base, "item": "${{ item }}"}, "needs": ["hold"]},
        {"id": "wait", "uses": "wait", "with": base, "needs": ["make"]},
        {"id": "end", "uses": "end", "needs": ["wait"], "when": "always"},
    ]
    return json.dumps({"version": 1, "name": name, **more, "steps": steps})
