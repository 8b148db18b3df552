"""All VMs behind one vCenter, at one moment: what a set's `select:` chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner.step.context import Answers, Context
from runner.step.items import Footing, Item, Items, LeftOut, Where
from steps.vsphere.bulk import Looks
from steps.vsphere.client import Client, vcenter
from steps.vsphere.fitting import CLUSTER, Fitting
from steps.vsphere.names import unescape
from steps.vsphere.rule import Rule
from steps.vsphere.survey import Place, Seen, attribute_keys, survey, with_hidden
from steps.vsphere.tags import tagged

SAME_UUID = "another VM has its instance uuid too"
NO_UUID = "vCenter tells no instance uuid of it"


@dataclass
class VmCensus:
    """See `runner.step.items.Census`."""

    key: str
    everything: Sequence[Item]
    unworkable: Mapping[str, str]
    """A VM without an instance uuid goes by its moref: no job can take it."""
    _looks: Looks
    _fitting: Fitting
    _seen: Mapping[str, Seen] = field(default_factory=dict)
    """By the item's id."""

    def select(self, where: Where) -> Items:
        any_, none = _rules(where.any), _rules(where.none)
        fitted: set[int] = set()
        chosen, left_out, unread = [], [], []
        for item in self.everything:
            seen = self._seen[item.id]
            rule, doubts = self._first(any_, seen, fitted) if any_ else (None, False)
            if any_ and rule is None:
                if doubts:
                    unread.append(LeftOut(item, self._fitting.why_unknown(any_, seen)))
                continue
            found = replace(item, rule="" if rule is None else str(rule))
            excluded, doubts = self._first(none, seen, fitted)
            if excluded is not None:
                left_out.append(LeftOut(found, f"not: {excluded}", by_rule=True))
            elif why := self.unworkable.get(item.id):
                left_out.append(LeftOut(found, why))
            elif doubts or not seen.instance_uuid:
                unread.append(LeftOut(found, self._fitting.why_unknown(none if doubts else (), seen)))
            else:
                chosen.append(found)
        machines = self._fitting.survey.machines
        unfit = {
            f"{word}{rule}": self._fitting.why_none(rule, machines)
            for word, rules in (("", any_), ("not: ", none))
            for rule in rules
            if id(rule) not in fitted
        }
        return Items(tuple(chosen), tuple(left_out), unfit, tuple(unread))

    def detailed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """One that cannot be described keeps `disks` unset: the look at it says why."""
        seen = [self._seen[item.id] for item in items]
        found = self._looks.read([(one, self._fitting.survey.located(one)) for one in seen])
        return tuple(map(_with_disks, items, (found.get(one.moref) for one in seen)))

    def answers(self, item: Item) -> Answers:
        return self._looks.answers(self._seen[item.id].moref)

    def _first(self, rules: Iterable[Rule], seen: Seen, fitted: set[int]) -> tuple[Rule | None, bool]:
        """The first rule that fits, and whether one might. `fitted` gets the `id` of every one that does: a
        rule with attributes has no hash."""
        first, doubts = None, False
        for rule in rules:
            fits = self._fitting.fits(rule, seen)
            if fits:
                fitted.add(id(rule))
                first = first or rule
            doubts = doubts or fits is None
        return first, doubts


def take(ctx: Context, name: str, wheres: Sequence[Where]) -> VmCensus:
    """Of the vCenter `name`. Raises VSphereError."""
    client = vcenter(ctx, name)
    rules = [rule for where in wheres for rule in _rules((*where.any, *where.none))]
    attributes = attribute_keys(client) if any(rule.attribute for rule in rules) else {}
    # Tags first: a VM that is made in between is then in the survey, without its tag for one night.
    tags = tagged(client, {rule.tag for rule in rules if rule.tag})
    seen = with_hidden(client, survey(client), frozenset[str]().union(*tags.machines.values()))
    return _census(client, Fitting(seen, tags.machines, attributes, tags.names))


def _rules(rules: Iterable[Any]) -> tuple[Rule, ...]:
    return tuple(rules)


def _census(client: Client, fitting: Fitting) -> VmCensus:
    found = _Items(client, fitting)
    seen = {found.identified(one): one for one in fitting.survey.machines}
    everything = sorted((found.item(id_, one) for id_, one in seen.items()), key=lambda item: item.path)
    unworkable = {id_: why for id_, one in seen.items() if (why := found.why_not(one))}
    looks = Looks(client, fitting.survey)
    return VmCensus(client.uuid, tuple(everything), unworkable, looks, fitting, seen)


def _with_disks(item: Item, disks: tuple[int, ...] | None) -> Item:
    return item if disks is None else replace(item, disks=len(disks), size=sum(disks))


class _Items:
    """Made of what the survey saw; what many of them share is one object."""

    def __init__(self, client: Client, fitting: Fitting) -> None:
        self._fitting = fitting
        self._uuid = client.uuid
        self._vcenter = (Footing(self._uuid, client.name),)
        self._footings: dict[tuple[str, ...], tuple[Footing, ...]] = {}
        counts: dict[str, int] = {}
        for one in fitting.survey.machines:
            counts[one.instance_uuid] = counts.get(one.instance_uuid, 0) + 1
        self._several = {uuid for uuid, count in counts.items() if uuid and count > 1}

    def identified(self, seen: Seen) -> str:
        known = seen.instance_uuid and seen.instance_uuid not in self._several
        return seen.instance_uuid if known else seen.moref

    def why_not(self, seen: Seen) -> str:
        if seen.instance_uuid in self._several:
            return SAME_UUID
        if seen.why_not:
            return seen.why_not
        told = seen.instance_uuid or "summary.config.instanceUuid" in seen.unread
        return "" if told else NO_UUID

    def item(self, id_: str, seen: Seen) -> Item:
        footings = {
            "vcenter": self._vcenter,
            "host": self._on((seen.host,) if seen.host else ()),
            "datastore": self._on(seen.datastores),
        }
        name = unescape(seen.name) or seen.moref
        above = self._fitting.path(seen.parent or seen.vapp)
        path = f"{above}/{seen.name}" if above is not None and seen.name else f"{name} ({seen.moref})"
        return Item(id_, name, path, stands_on=footings, facts=self._facts(seen))

    def _on(self, morefs: tuple[str, ...]) -> tuple[Footing, ...]:
        if morefs not in self._footings:
            places = self._fitting.survey.places
            self._footings[morefs] = tuple(
                Footing(f"{self._uuid}/{moref}", _name(places.get(moref), moref)) for moref in morefs
            )
        return self._footings[morefs]

    def _facts(self, seen: Seen) -> dict[str, str]:
        chain = list(self._fitting.survey.chain(seen.host))
        cluster = next((one for one in chain[1:2] if one.kind == CLUSTER), None)
        facts = {"moref": seen.moref, "bios": seen.bios_uuid, "power": seen.power}
        if cluster is not None:
            facts["cluster"] = _name(cluster, cluster.moref)
        return facts


def _name(place: Place | None, moref: str) -> str:
    return unescape(place.name) if place is not None and place.name else moref
