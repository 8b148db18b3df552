"""The keys of a job file beside its steps, as values: hosts, sections, state, and those of sets and of when
a job runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from runner.base.errors import Problem
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Entry, Location, Node, Sequence
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.hosts.spec import HostSpec, LocalSpec, RoomLimits, SshSpec
from runner.job.field_roles import Surroundings, with_absolute_paths
from runner.job.model import LOCAL, Excuse, Selection, StateIn, StateSpec
from runner.job.problems import Written, check_value, one_of
from runner.job.selection import excuses, listing, selection, text_of
from runner.job.spelling import Spelling
from runner.job.variables import Unsettled, Variables
from runner.step.registry import Registry
from runner.step.section import Section


def named(entries: Mapping[str, Entry], section: str) -> Mapping[str, Entry]:
    """The entries of a section, which may be absent."""
    entry = entries.get(section)
    return entry.node.entries if entry is not None and isinstance(entry.node, MappingNode) else {}


PLAIN_KEYS = ("priority", "rpo", "schedule", "fleet", "notify")
"""Each a value of its annotation and no more."""

KEYS_OF_SETS = ("select", *PLAIN_KEYS, "slots", "unprotected")

PLACE: Any = StateSpec | StateIn

Absolute = Callable[[str, Location], str]
"""Makes a path absolute that stands at that place."""


def spelled(entries: Mapping[str, Entry], spelling: Spelling, registry: Registry) -> dict[str, Entry]:
    """With the fields of hosts, sections and all other keys but steps as they are spelled."""
    found = dict(entries)
    named: dict[str, Any] = {"hosts": HostSpec, **registry.sections}
    for key in entries.keys() & named.keys():
        found[key] = Entry(entries[key].at, spelling.each(named[key], entries[key].node))
    whole: dict[str, Any] = {"state": PLACE}
    if not entries.keys().isdisjoint(KEYS_OF_SETS):
        from runner.job.keys import kinds

        whole |= {**kinds(registry), "slots": PLACE}
    for key in entries.keys() & whole.keys():
        found[key] = Entry(entries[key].at, spelling.of(whole[key], entries[key].node))
    return found


class TopLevel:
    """`around`: the names that are there, also of entries with mistakes of their own; `problems` gathers what
    is wrong."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        registry: Registry,
        variables: Variables,
        around: Surroundings,
        absolute: Absolute,
        problems: list[Problem],
    ) -> None:
        self._entries = entries
        self._registry = registry
        self._variables = variables
        self._around = around
        self._absolute = absolute
        self._problems = problems
        self.hosts = self._hosts()
        self.local_limits = self._local_limits()
        self.sections: dict[str, dict[str, Section]] = {
            name: self._values(model, name) for name, model in registry.sections.items()
        }
        self.state = self._place("state")
        self._require_slots()

    def keys(self) -> dict[str, Any]:
        """Those of `KEYS_OF_SETS` that are there, as the fields of a Job."""
        if self._entries.keys().isdisjoint(KEYS_OF_SETS):
            return {}
        from runner.job.keys import kinds

        known = kinds(self._registry)
        found: dict[str, Any] = {
            key: self._value(known[key], self._entries[key].node, key, key)
            for key in PLAIN_KEYS
            if key in self._entries
        }
        if "slots" in self._entries:
            found["slots"] = self._place("slots")
        return {**found, "select": self._select(), "unprotected": self._unprotected()}

    def _select(self) -> Selection | None:
        from runner.job.keys import select_entry

        if (entry := self._entries.get("select")) is None:
            return None
        rule = self._rule_of(entry.node, "select")
        found = None if rule is None else self._value(select_entry(rule), entry.node, "select", "select")
        return None if found is None else selection(found, entry.at)

    def _unprotected(self) -> tuple[Excuse, ...]:
        from runner.job.keys import unprotected_entry

        if (entry := self._entries.get("unprotected")) is None:
            return ()
        if not isinstance(entry.node, Sequence):
            self._say(entry.node.at, "unprotected should be a list: - {from: …, any: […], reason: …}")
            return ()
        found = []
        for index, node in enumerate(entry.node.items):
            owner = f"unprotected[{index}]"
            rule = self._rule_of(node, owner)
            found.append(
                None if rule is None else self._value(unprotected_entry(rule), node, owner, "unprotected")
            )
        return excuses([one for one in found if one is not None])

    def _rule_of(self, node: Node, owner: str) -> Any:
        """What a rule of `any` and `not` is below `from`; None, and said, where that names nothing. Where it
        is not there, anything: that is said with the rest."""
        named = text_of(node, "from")
        if named is None:
            return dict[str, Any]
        section, at = named.text.partition(".")[0], named.at
        if (rule := listing(self._registry.sections.get(section))) is not None and self._is_there(
            named.text, at, f"{owner}: from"
        ):
            return rule
        if rule is None:
            lists = [name for name, model in self._registry.sections.items() if model.Rule is not None]
            hint = did_you_mean(
                named.text, [name for name in self._known() if name.partition(".")[0] in lists]
            )
            example = f"; write {one_of([f'{name}.…' for name in lists])}" if lists else ""
            self._say(
                at,
                f"{owner}: from: '{named.text}' lists nothing that could be selected{hint or example}",
            )
        return None

    def _known(self) -> list[str]:
        return [f"{section}.{name}" for section, names in self._around.sections.items() for name in names]

    def _is_there(self, name: str, at: Location, owner: str) -> bool:
        """That it is an entry of a section; says so if not."""
        if name in (known := self._known()):
            return True
        example = "; write a section and an entry, such as repositories.main"
        self._say(at, f"{owner}: there is no '{name}'{did_you_mean(name, known) or example}")
        return False

    def _hosts(self) -> dict[str, HostSpec]:
        return {**self._values(HostSpec, "hosts", but=LOCAL), LOCAL: LOCAL}

    def _local_limits(self) -> RoomLimits:
        if (entry := named(self._entries, "hosts").get(LOCAL)) is None:
            return RoomLimits()
        if isinstance(entry.node, MappingNode) and "ssh" in entry.node.entries:
            words = "the host 'local' is the machine sendense runs on: call this one something else"
            self._say(entry.at, words)
            return RoomLimits()
        spec = self._value(Literal["local"] | LocalSpec, entry.node, f"hosts.{LOCAL}")
        return spec.limits if isinstance(spec, LocalSpec) else RoomLimits()

    def _values(self, annotation: Any, section: str, but: str = "") -> dict[str, Any]:
        """Of a section, by name; without those that are none, and without the one called `but`."""
        found = {
            name: self._value(annotation, one.node, f"{section}.{name}")
            for name, one in named(self._entries, section).items()
            if name != but
        }
        return {name: value for name, value in found.items() if value is not None}

    def _require_slots(self) -> None:
        """Limits hold among those who share them: each is said to need the place where they are shared."""
        if "slots" in self._entries:
            return
        limited = [
            (section, name, field)
            for section, entries in self.sections.items()
            for name, entry in entries.items()
            if (field := entry.limited)
        ]
        limited += [
            ("hosts", name, spec.limited)
            for name, spec in self.hosts.items()
            if isinstance(spec, SshSpec) and spec.limited
        ]
        if self.local_limits != RoomLimits():
            limited.append(("hosts", LOCAL, "limits"))
        for section, name, field in limited:
            self._say(
                named(self._entries, section)[name].at,
                f"{section}.{name}: {field} holds among all runs that name one place for it: write "
                "slots: {in: repositories.…} beside it, or a host and a path",
            )

    def _place(self, key: str) -> StateSpec | StateIn | None:
        """``state:`` or ``slots:``: a host and a path, or in what an entry of a section stands for."""
        if (entry := self._entries.get(key)) is None:
            return None
        place: StateSpec | StateIn | None = self._value(PLACE, entry.node, key)
        if isinstance(place, StateIn):
            return self._place_in(place, entry.node.at, key)
        if place is not None and self.hosts.get(place.host) == LOCAL:
            return StateSpec(host=place.host, path=self._absolute(place.path, entry.node.at))
        if place is not None and not place.path.startswith("/"):
            self._say(entry.node.at, f"{key}: path is on the host {place.host}: make it absolute, /…")
        return place

    def _place_in(self, place: StateIn, at: Location, key: str) -> StateIn | None:
        if not self._is_there(place.in_, at, f"{key}: in"):
            return None
        found = self.sections[place.section].get(place.entry)
        if found is None:
            return None  # what is wrong with that entry was said
        if found.state_place() is None:
            self._say(at, f"{key}: in: {place.in_} has no place for records of runs; a repository has")
            return None
        return place

    def _value(
        self, annotation: Any, node: Node, owner: str, where: str = "hosts, state and sections"
    ) -> Any:
        """What stands there as the annotated type; None, and said, if it is none."""
        raw = with_absolute_paths(annotation, node, self._absolute)
        try:
            value = self._variables.settled(node, raw, where)
        except Unsettled:
            return None
        written = Written(node, self._variables.at)
        made, problems = check_value(annotation, value, written, owner)
        self._problems += problems + self._around.unknown_names(annotation, value, written, owner)
        return made

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))
