"""Keys in the one spelling that the rest of the program knows: fields of steps, hosts and sections have
hyphens (``host-key``), variables of a template underscores (``full_every``), since jinja2 reads them as
names. The other spelling is taken for it, and told, before anything is compared or digested."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from runner.base.annotations import fields, inside, members, model_of
from runner.base.errors import Problem
from runner.base.yaml_nodes import Entry, Location, Mapping, Node, Scalar, Sequence
from runner.step.registry import Registry


class Spelling:
    """`notes` gathers what was spelled otherwise, each once."""

    def __init__(self) -> None:
        self.notes: dict[Problem, None] = {}

    def of(self, annotation: Any, node: Node) -> Node:
        """`node` with the keys that the models in `annotation` have."""
        match node:
            case Sequence():
                items = tuple(
                    self.of(inside(annotation, index), item) for index, item in enumerate(node.items)
                )
                return Sequence(node.at, items, node.weight)
            case Mapping():
                models = [model for member in members(annotation) if (model := model_of(member)) is not None]
                keys = {key for model in models for key in fields(model)}
                found = self.keys(node, keys, "-")
                return _with(
                    found, {key: self.of(inside(annotation, key), e.node) for key, e in found.entries.items()}
                )
            case Scalar():
                return node

    def each(self, annotation: Any, node: Node) -> Node:
        """A mapping of names that people choose, to values of that annotation."""
        if not isinstance(node, Mapping):
            return node
        return _with(node, {name: self.of(annotation, entry.node) for name, entry in node.entries.items()})

    def steps(self, node: Node, registry: Registry) -> Node:
        """The `with` of each step of a kind that is known."""
        if not isinstance(node, Sequence):
            return node
        return Sequence(node.at, tuple(self._step(item, registry) for item in node.items), node.weight)

    def keys(self, node: Mapping, known: Collection[str], sign: str) -> Mapping:
        """Those alone that are no known ones and would be with `sign` between their words. Where both
        spellings stand, both stay."""
        other = "_" if sign == "-" else "-"
        entries: dict[str, Entry] = {}
        for key, entry in node.entries.items():
            meant = key.replace(other, sign)
            if key in known or meant not in known or meant in node.entries:
                entries[key] = entry
            else:
                self._tell(entry.at, key, meant)
                entries[meant] = entry
        return Mapping(node.at, entries, node.weight)

    def name(self, name: str, known: Collection[str], at: Location) -> str:
        """That of a variable, which has underscores if it is a known one."""
        meant = name.replace("-", "_")
        if name in known or meant not in known:
            return name
        self._tell(at, name, meant)
        return meant

    def _step(self, node: Node, registry: Registry) -> Node:
        if not isinstance(node, Mapping) or not {"uses", "with"} <= node.entries.keys():
            return node
        uses, with_ = node.entries["uses"].node, node.entries["with"].node
        kind = registry.steps.get(uses.text) if isinstance(uses, Scalar) else None
        if kind is None or not isinstance(with_, Mapping):
            return node
        found = self.keys(with_, {*fields(kind.In), *fields(kind.Live)}, "-")
        inner = {
            key: self.of(fields(kind.In).get(key, Any), entry.node) for key, entry in found.entries.items()
        }
        return _with(node, {"with": _with(found, inner)})

    def _tell(self, at: Location, written: str, meant: str) -> None:
        self.notes[at.problem(f"'{written}' is read as '{meant}': write it so")] = None


def _with(node: Mapping, nodes: dict[str, Node]) -> Mapping:
    entries = {key: Entry(entry.at, nodes.get(key, entry.node)) for key, entry in node.entries.items()}
    return Mapping(node.at, entries, node.weight)
