"""What runs of a set would do: each child's plan, folded into a row, and what they come to together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from runner.base.model import Model
from runner.engine.difference import Difference
from runner.engine.plan import Plan
from runner.events.several import BLANK, alike
from runner.step.decision import Decision, together
from runner.step.items import Item
from runner.step.setting import Setting
from runner.step.space import SpaceNeeded

SET_PLAN_SCHEMA_VERSION = 1

NAMED = 5
"""Items that are named of those that share a problem; the rows tell of each."""


class SetRow(Model):
    """Of one item. `what`: what is decided, in a word or two (``full``), or `resumes`, `running`, `unknown`;
    sizes in bytes."""

    id: str
    name: str
    path: str
    job: str
    """The child's name."""
    what: str
    why: str = ""
    disks: int | None = None
    size: int | None = None
    resumes: str | None = None
    """The unfinished run that it would resume."""
    removes: int = 0
    """How many restore points would be deleted."""
    nodes: tuple[str, ...] = ()
    """Ids of the nodes that would run; with `decided` where a plan is to be saved."""
    decided: tuple[Decision, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Sum(Model):
    """Of all that stand on one thing: ``datastore ds1``."""

    kind: str
    name: str
    items: int
    disks: int | None
    size: int | None


class Shared(Model):
    """A sentence, and whom it concerns."""

    text: str
    """With `BLANK` for the item's name."""
    items: int
    named: tuple[str, ...]


class Waiting(Model):
    """How many cannot begin at once, and for what they wait."""

    what: str
    items: int


class Vanished(Model):
    """An item that is no longer selected, of which restore points or runs of this set are there."""

    id: str
    name: str
    points: int = 0
    newest: datetime | None = None
    unfinished: str | None = None
    """The unfinished run, whose snapshot may be held."""


class SetPlan(Model):
    """`about`: the settings that a reviewer must see, which all children share. `error`: why the selection is
    not to be relied on."""

    schema_version: int = SET_PLAN_SCHEMA_VERSION
    set: str
    file: str
    source: str
    """``vcenters.prod``"""
    noun: str
    """What an item is: ``VM``."""
    selected: int
    rows: tuple[SetRow, ...]
    """Of those that were asked for, by path."""
    about: tuple[Setting, ...] = ()
    sums: tuple[Sum, ...] = ()
    space: tuple[SpaceNeeded, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    left_out: int = 0
    unfit: Mapping[str, str] = {}
    vanished: tuple[Vanished, ...] = ()
    warnings: tuple[Shared, ...] = ()
    shared_problems: tuple[Shared, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    against: Difference | None = None
    """From another version of the job, where that was asked for."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Each once, with how many it concerns; then what does not fit."""
        told = tuple(sentence(one, self.noun) for one in self.shared_problems)
        lacking = tuple(problem for needed in self.space if (problem := needed.problem) is not None)
        return (*(() if self.error is None else (self.error,)), *told, *lacking)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows by what is done, most first."""
        return dict(Counter(row.what for row in self.rows).most_common())


def sentence(one: Shared, noun: str) -> str:
    """``12 VMs (db1, db2, …): no snapshot can be taken of …``"""
    if one.items == 1:
        return f"{one.named[0]}: {one.text}"
    more = ", …" if one.items > len(one.named) else ""
    return f"{one.items} {noun}s ({', '.join(one.named)}{more}): {one.text}"


def row(item: Item, job: str, plan: Plan, *, settled: bool) -> SetRow:
    """`settled`: with all that a saved plan holds."""
    decided = together(one for node in plan.nodes for one in node.decided)
    chosen = [one for one in decided.values() if one.choice]
    problems = dict.fromkeys(problem for node in plan.nodes for problem in node.problems)
    running = [node.id for node in plan.nodes if node.action == "run"]
    return SetRow(
        id=item.id,
        name=item.name,
        path=item.path,
        job=job,
        what=in_short(one.choice for one in chosen) or "unknown",
        why="; ".join(dict.fromkeys(one.why for one in chosen if one.why)),
        disks=item.disks,
        size=item.size,
        removes=sum(len(node.removes) for node in plan.nodes),
        nodes=tuple(running) if settled else (),
        decided=tuple(decided.values()) if settled else (),
        warnings=tuple(warning for node in plan.nodes for warning in node.warnings),
        problems=tuple(problems),
    )


def in_short(choices: Iterable[str]) -> str:
    """``full``; ``1 full, 2 incremental``"""
    counts = Counter(choices)
    if len(counts) < 2:
        return next(iter(counts), "")
    return ", ".join(f"{count} {choice}" for choice, count in sorted(counts.items()))


def shared(found: Iterable[tuple[Item, str]]) -> tuple[Shared, ...]:
    """Sentences that differ in the item's name alone are one, in the order of the first."""
    by_text: dict[str, list[str]] = {}
    for item, text in found:
        by_text.setdefault(alike(text, item.name), []).append(item.name)
    return tuple(
        Shared(
            text=text if len(names) > 1 else text.replace(BLANK, names[0]),
            items=len(names),
            named=tuple(names[:NAMED]),
        )
        for text, names in by_text.items()
    )


def sums(items: Iterable[Item]) -> tuple[Sum, ...]:
    """By what they stand on: of each kind the most first."""
    found: dict[str, dict[str, list[Item]]] = {}
    names: dict[str, str] = {}
    for item in items:
        for kind, footings in item.stands_on.items():
            for footing in footings:
                found.setdefault(kind, {}).setdefault(footing.key, []).append(item)
                names[footing.key] = footing.name
    return tuple(
        Sum(
            kind=kind,
            name=names[key],
            items=len(on),
            disks=total(one.disks for one in on),
            size=total(one.size for one in on),
        )
        for kind, places in found.items()
        for key, on in sorted(places.items(), key=lambda place: -len(place[1]))
    )


def total(amounts: Iterable[int | None]) -> int | None:
    """None where one is not known."""
    found = list(amounts)
    return None if any(one is None for one in found) else sum(one or 0 for one in found)


class SpaceSum:
    """Of what all children are still to write, for each place; the text of each is not kept."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], SpaceNeeded] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, needed: Iterable[SpaceNeeded]) -> None:
        for one in needed:
            key = (one.host, one.path)
            self._counts[key] += 1
            known = self._places.get(key)
            self._places[key] = one.model_copy(
                update={
                    "least": one.least + (0 if known is None else known.least),
                    "most": one.most + (0 if known is None else known.most),
                    "of": (),
                }
            )

    def all(self, noun: str) -> tuple[SpaceNeeded, ...]:
        return tuple(
            one.model_copy(
                update={"of": (f"{self._counts[key]} {noun}{'' if self._counts[key] == 1 else 's'}",)}
            )
            for key, one in self._places.items()
        )
