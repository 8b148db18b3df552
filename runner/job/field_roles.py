"""Fields that the engine reads: paths relative to their file, names of hosts, names of entries of
sections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from runner.base.annotations import inside, members, metadata
from runner.base.errors import Problem
from runner.base.model import HOST, RELATIVE_TO_FILE, SectionName
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Location, Node, Scalar, Sequence
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.problems import Path, Written


def with_absolute_paths(annotation: Any, node: Node, absolute: Callable[[str, Location], str]) -> JsonValue:
    """The plain value of `node`; where the annotation says path, as `absolute` makes it of text and place."""
    match node:
        case Sequence():
            inner = [inside(annotation, index) for index in range(len(node.items))]
            return [
                with_absolute_paths(each, item, absolute)
                for each, item in zip(inner, node.items, strict=True)
            ]
        case MappingNode():
            return {
                key: with_absolute_paths(inside(annotation, key), entry.node, absolute)
                for key, entry in node.entries.items()
            }
        case Scalar():
            is_path = RELATIVE_TO_FILE in _marks(annotation)
            return absolute(node.value, node.at) if is_path and isinstance(node.value, str) else node.value


@dataclass(frozen=True)
class Surroundings:
    """The names that fields can hold: of hosts, and of entries by section."""

    hosts: Collection[str]
    sections: Mapping[str, Collection[str]]

    def unknown_names(
        self,
        annotation: Any,
        value: JsonValue,
        written: Written,
        owner: str,
        *,
        later: Collection[Path] = (),
    ) -> list[Problem]:
        """Of the hosts and section entries that `value` names, those that there are not, but for what comes
        with the run, at paths in `later`."""
        problems = []
        for path, section, name in names(annotation, value):
            known = self.hosts if section is None else self.sections.get(section.section, ())
            if name in known or path in later:
                continue
            what = "host" if section is None else f"entry of {section.section}"
            hint = did_you_mean(name, known) or (f"; there are {', '.join(known)}" if known else "")
            where = ".".join(str(part) for part in path)
            problems.append(
                written.at(path).problem(f"{owner}: {where}: there is no {what} named '{name}'{hint}")
            )
        return problems


def names(
    annotation: Any, value: JsonValue, path: Path = ()
) -> Iterator[tuple[Path, SectionName | None, str]]:
    """Path, section (None: hosts) and name of all that `value` names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from names(inside(annotation, key), item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from names(inside(annotation, index), item, (*path, index))
    elif isinstance(value, str):
        for mark in _marks(annotation):
            if mark is HOST:
                yield path, None, value
            elif isinstance(mark, SectionName):
                yield path, mark, value


def _marks(annotation: Any) -> tuple[Any, ...]:
    return tuple(mark for member in members(annotation) for mark in metadata(member))
