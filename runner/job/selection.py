"""`select:` of a set → Selection, and what a set gives to each of its children: the item's id, and the name
of the entry that lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.base.model import JobModel
from runner.base.yaml_nodes import Entry, Location, Node, Scalar
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.model import Excuse, Selection
from runner.step.items import Where
from runner.step.section import Section

VARIABLE = "vm"
"""Where `as` does not say another."""

EACH = "each-of-the-set"
"""Stands for the id of an item while the job is read: a set is checked once, whatever it finds. No item has
it."""


@dataclass(frozen=True)
class Given:
    """A variable that the set gives to each child. `value` is None where each has its own."""

    value: str | None
    at: Location


def given_by(entries: Mapping[str, Entry]) -> dict[str, Given]:
    """The variables that `select:` of a file's top level gives, as far as it can be read; none if it has no
    such key."""
    if (entry := entries.get("select")) is None:
        return {}
    variable, named = text_of(entry.node, "as"), text_of(entry.node, "from")
    found = {} if variable is None else {variable.text: Given(None, variable.at)}
    if variable is None:
        found[VARIABLE] = Given(None, entry.at)
    section, _, name = ("" if named is None else named.text).partition(".")
    return {variable_of(section): Given(name, named.at), **found} if named is not None and name else found


def variable_of(section: str) -> str:
    """The variable of a child that names the entry: `vcenter` of `vcenters`."""
    return section.removesuffix("s")


def listing(model: type[Section] | None) -> type[JobModel] | None:
    """The rules for what that section's entries list."""
    return None if model is None else model.Rule


def selection(entry: Any, at: Location) -> Selection:
    """Of a `keys.SelectEntry`."""
    section, _, name = entry.from_.partition(".")
    where = Where(any=tuple(entry.any), none=tuple(entry.not_))
    return Selection(section, name, entry.as_, where, entry.at_least, at)


def excuses(entries: Sequence[Any]) -> tuple[Excuse, ...]:
    """Of `keys.UnprotectedEntry`."""
    found = []
    for entry in entries:
        section, _, name = entry.from_.partition(".")
        found.append(Excuse(section, name, Where(any=tuple(entry.any)), entry.reason))
    return tuple(found)


def text_of(node: Node, key: str) -> Scalar | None:
    """What stands below that key of a mapping, if it is text."""
    entry = node.entries.get(key) if isinstance(node, MappingNode) else None
    found = None if entry is None else entry.node
    return found if isinstance(found, Scalar) and isinstance(found.value, str) else None
