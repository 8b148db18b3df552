"""A section that lists items out of a text file, for tests of sets: ``name colour [state]``, a line each."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from runner.base.errors import SendenseError, TransientError
from runner.base.model import JobModel, SectionName
from runner.step.context import Answers, Context
from runner.step.decision import Decision
from runner.step.items import Ahead, Census, Claim, Footing, Item, Items, Kept, LeftOut, Where
from runner.step.preflight import Known, Preflight
from runner.step.registry import Registry
from runner.step.section import Section
from runner.step.setting import Setting
from runner.step.space import Space
from runner.step.step import Empty, Lifetime, Step
from tests.runner.toys import STEPS, Held


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
    at_once: int | None = None

    @property
    def limited(self) -> str:
        return "" if self.at_once is None else "at-once"

    def census(self, ctx: Context, name: str, wheres: Sequence[Where]) -> Census:
        path = Path(self.file)
        if not path.exists():
            raise SendenseError(f"{name} cannot be read")
        _note(self.file, "asked")
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

    def ahead(self, ctx: Context, name: str) -> Ahead | None:
        if Path(f"{self.file}.broken").exists():
            raise SendenseError(f"shelf {name} is broken")
        _note(self.file, "ahead")
        assert ctx.answers is not None
        lines = Path(self.file).read_text().splitlines()
        ctx.answers["shelf", name] = {f"id-{line.split()[0]}": line.split()[1] for line in lines}
        return ToyAhead(Path(f"{self.file}.kept"))

    def newest(self, ctx: Context, name: str) -> Mapping[str, datetime]:
        """A line of the file reads ``name hours``: how old the newest of it is."""
        _note(self.file, "aged")
        file = Path(f"{self.file}.ages")
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        if lines == [["unreadable"]]:
            raise SendenseError(f"shelf {name} is broken")
        return {f"id-{called}": datetime.now(UTC) - timedelta(hours=float(hours)) for called, hours in lines}

    def claims(self, ctx: Context, name: str, item: Item) -> tuple[Claim, ...]:
        return () if self.at_once is None else (Claim.share(f"shelf {name}", 1, self.at_once, f"taken from {name}"),)


@dataclass
class ToyAhead:
    """A line of the file reads ``name job``."""

    file: Path

    def kept(self, but: Container[str], made_by: str) -> Iterator[Kept]:
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            name, job = line.split()
            if f"id-{name}" not in but and job.startswith(made_by):
                yield Kept(f"id-{name}", name, job, 1, datetime(2026, 11, 1, tzinfo=UTC))


def _note(file: str, what: str) -> None:
    with Path(f"{file}.{what}").open("a") as noted:
        noted.write("x")


class PickIn(JobModel):
    item: str
    shelf: Annotated[str, SectionName("shelves")]


class Pick(Step[PickIn, Empty, Held]):
    """Takes an item from its shelf."""

    name, lifetime, In, Out, example = "pick", Lifetime.KEEP, PickIn, Held, ""

    def run(self, ctx: Context, inputs: PickIn, live: Empty) -> Held:
        raise NotImplementedError

    def preflight(self, ctx: Context | None, known: Known[PickIn, Held]) -> Preflight[Held]:
        settings = (Setting(name="item", text=str(known.told.get("item"))), Setting(name="hands", text="two"))
        if ctx is None or known.inputs is None:
            return Preflight(settings=settings)
        assert ctx.answers is not None
        inputs, name = known.inputs, known.inputs.item.removeprefix("id-")
        file = ctx.section("shelves", inputs.shelf).file
        if ctx.answers.get("tool") is None:
            _note(file, "tools")
            ctx.answers["tool"] = "a pair of hands"
        if name.startswith("gone"):
            raise TransientError("the shelf does not answer")
        colour = ctx.answers.get(("shelf", inputs.shelf))[inputs.item]  # type: ignore[index]
        choice, why, facts = (
            ("full", "it is green", {})
            if colour == "green"
            else ("incremental", f"on {name}-0", {"chain": f"{name}-0"})
        )
        return Preflight(
            settings=settings,
            decisions=(Decision(subject="all of it", choice=choice, facts=facts, why=why),),
            problems=(f"{name} is locked by somebody else",) if name.startswith("locked") else (),
            space=Space(host="local", path="/srv", free=10_000, least=len(name), most=10 * len(name), of=name),
        )


REGISTRY = Registry({**STEPS, "pick": Pick()}, {"shelves": Shelf})


def set_of(directory: Path, *lines: str, select: str = "", steps: str = "", more: str = "", shelf: str = "") -> Path:
    """A job file: a set over those lines."""
    (directory / "items").write_text("".join(f"{line}\n" for line in lines))
    steps = steps or '[{id: look, uses: look, with: {root: "${{ vars.vm }}"}}]'
    text = f"version: 1\nname: gold\nshelves: {{a: {{file: {directory}/items{shelf}}}}}\n"
    text += f"select: {{from: shelves.a{select and f', {select}'}}}\nsteps: {steps}\n{more}"
    path = directory / "gold.yaml"
    path.write_text(text)
    return path


def installed(patch: Any) -> None:
    """The toys in the place of what is installed; `patch` is pytest's monkeypatch."""
    patch.setattr(Registry, "installed", classmethod(lambda cls: REGISTRY))
