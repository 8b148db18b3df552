"""A section that lists items out of a text file, for tests of sets: ``name colour [state]``, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from runner.base.errors import SendenseError
from runner.base.model import JobModel
from runner.step.context import Answers, Context
from runner.step.items import Census, Footing, Item, Items, LeftOut, Where
from runner.step.registry import Registry
from runner.step.section import Section
from tests.runner.toys import STEPS


class Rule(JobModel):
    """Which items of a list."""

    name: str | None = None
    """A pattern."""
    colour: Literal["red", "green"] | None = None
    """Its paint."""

    def __str__(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in self.to_json_value().items() if value is not None)

    def fits(self, item: Item) -> bool:
        named = self.name is None or fnmatchcase(item.name, self.name)
        return named and self.colour in (None, item.facts["colour"])


@dataclass
class ToyCensus:
    key: str
    everything: Sequence[Item]
    unworkable: Mapping[str, str]
    unread: Mapping[str, str] = field(default_factory=dict)

    def select(self, where: Where) -> Items:
        chosen, left_out, unread = [], [], []
        for item in self.everything:
            rule = next((rule for rule in where.any if rule.fits(item)), None)  # type: ignore[attr-defined]
            if where.any and rule is None:
                continue
            found = replace(item, rule="" if rule is None else str(rule))
            none = next((rule for rule in where.none if rule.fits(item)), None)  # type: ignore[attr-defined]
            if none is not None:
                left_out.append(LeftOut(found, f"not: {none}", by_rule=True))
            elif item.id in self.unworkable:
                left_out.append(LeftOut(found, self.unworkable[item.id]))
            elif item.id in self.unread:
                unread.append(LeftOut(found, self.unread[item.id]))
            else:
                chosen.append(found)
        unfit = {str(one): "" for one in where.any if not any(one.fits(each) for each in self.everything)}  # type: ignore[attr-defined]
        return Items(tuple(chosen), tuple(left_out), unfit, tuple(unread))

    def detailed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(replace(item, disks=len(item.name), size=1024 * len(item.name)) for item in items)

    def answers(self, item: Item) -> Answers:
        return {}


class Shelf(Section):
    """Lists the lines of a file."""

    Rule = Rule
    noun = "VM"
    file: str

    def census(self, ctx: Context, name: str, wheres: Sequence[Where]) -> Census:
        path = Path(self.file)
        if not path.exists():
            raise SendenseError(f"{name} cannot be read")
        with Path(f"{self.file}.asked").open("a") as asked:
            asked.write("x")
        items, unworkable, unread = [], {}, {}
        for line in path.read_text().splitlines():
            called, colour, *state = line.split()
            footings = {"store": (Footing(f"{name}/{colour}", colour),)}
            item = Item(
                f"id-{called}", called.partition("#")[0], f"/{colour}/{called}", "", footings, facts={"colour": colour}
            )
            items.append(item)
            if state == ["template"]:
                unworkable[item.id] = "template"
            elif state:
                unread[item.id] = " ".join(state)
        return ToyCensus(f"shelf {name}", sorted(items, key=lambda item: item.path), unworkable, unread)


REGISTRY = Registry(STEPS, {"shelves": Shelf})


def set_of(directory: Path, *lines: str, select: str = "", steps: str = "", more: str = "") -> Path:
    """A job file: a set over those lines."""
    (directory / "items").write_text("".join(f"{line}\n" for line in lines))
    steps = steps or '[{id: look, uses: look, with: {root: "${{ vars.vm }}"}}]'
    text = f"version: 1\nname: gold\nshelves: {{a: {{file: {directory}/items}}}}\n"
    text += f"select: {{from: shelves.a{select and f', {select}'}}}\nsteps: {steps}\n{more}"
    path = directory / "gold.yaml"
    path.write_text(text)
    return path


def installed(patch: Any) -> None:
    """The toys in the place of what is installed; `patch` is pytest's monkeypatch."""
    patch.setattr(Registry, "installed", classmethod(lambda cls: REGISTRY))
