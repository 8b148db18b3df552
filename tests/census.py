"""A census without a vCenter behind it, whose rules know names alone: for what is judged by one. The real one has tests of
its own in tests/steps/vsphere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from runner.base.model import JobModel
from runner.step.context import Answers
from runner.step.items import Item, Items, LeftOut, Where

VCENTER = "11111111-2222-3333-4444-555555555555"


class NameRule(JobModel):
    name: str

    def __str__(self) -> str:
        return f"name {self.name}"


def where(*names: str) -> Where:
    return Where(any=tuple(NameRule(name=name) for name in names))


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def item(name: str, number: int, folder: str = "", **facts: str) -> Item:
    return Item(uuid(number), name, f"DC0/vm/{folder}{name}", facts={"moref": f"vm-{number}", **facts})


@dataclass
class FakeCensus:
    everything: Sequence[Item]
    unworkable: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    key: str = VCENTER

    def select(self, where: Where) -> Items:
        chosen, left_out, unread = [], [], []
        for one in self.everything:
            rule = next((each for each in where.any if fnmatchcase(one.name, each.name)), None)
            if where.any and rule is None:
                continue
            if why := self.unreadable.get(one.id):
                unread.append(LeftOut(one, why))
            elif why := self.unworkable.get(one.id):
                left_out.append(LeftOut(one, why))
            else:
                chosen.append(replace(one, rule=str(rule)))
        return Items(tuple(chosen), tuple(left_out), {}, tuple(unread))

    def detailed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(items)

    def answers(self, item: Item) -> Answers:
        return {}
