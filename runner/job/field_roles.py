"""Fields that the engine reads: paths relative to their file, names of hosts, names of entries of
sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import JsonValue

from runner.base.annotations import inside, members, metadata
from runner.base.model import HOST, RELATIVE_TO_FILE, SectionName
from runner.base.yaml_nodes import Location, Mapping, Node, Scalar, Sequence

Path = tuple[str | int, ...]


def with_absolute_paths(annotation: Any, node: Node, absolute: Callable[[str, Location], str]) -> JsonValue:
    """The plain value of `node`; where the annotation says path, as `absolute` makes it of text and place."""
    match node:
        case Sequence():
            inner = [inside(annotation, index) for index in range(len(node.items))]
            return [
                with_absolute_paths(each, item, absolute)
                for each, item in zip(inner, node.items, strict=True)
            ]
        case Mapping():
            return {
                key: with_absolute_paths(inside(annotation, key), entry.node, absolute)
                for key, entry in node.entries.items()
            }
        case Scalar():
            is_path = RELATIVE_TO_FILE in _marks(annotation)
            return absolute(node.value, node.at) if is_path and isinstance(node.value, str) else node.value


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
