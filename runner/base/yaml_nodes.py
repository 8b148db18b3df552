"""YAML text → nodes that know where they stand. PyYAML lives here and in `runner.job.writer`.

Scalars are read by the core schema of YAML 1.2, as editors with a schema do: `true`, `false`, `null`, decimal
numbers; everything else is text. So a VM called `no`, `on`, `007`, `12:30` or `2026-11-23` stays what was
written. Tags are refused. Aliases and merge keys (``<<: *base``) work; what they expand to is bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from pydantic import JsonValue
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from runner.base.errors import JobFileError, Problem

MAX_DEPTH = 40
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
"""A job needs about ten; the bound keeps hostile nesting from the interpreter's recursion limit."""

MAX_VALUES = 200_000
"""With all aliases expanded. A job of 2,000 steps has about 40,000."""

MERGE = "<<"

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, order=True)
class Location:
    """`line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def problem(self, message: str) -> Problem:
        """A sentence on one line: what it quotes of the file may hold line breaks, or rule a terminal."""
        line = "".join(each if each.isprintable() else " " for each in message)
        return Problem(self.file, self.line, self.column, line)


NOWHERE = Location("", 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    at: Location
    value: str | int | float | bool | None
    text: str
    """As written, without quotes."""
    weight: int = 1

    def plain(self) -> JsonValue:
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    at: Location
    items: tuple[Node, ...]
    weight: int
    """Values in it, with aliases expanded, itself counted."""

    def plain(self) -> JsonValue:
        return [item.plain() for item in self.items]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    at: Location
    """Of the key."""
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    at: Location
    entries: dict[str, Entry]
    weight: int

    def plain(self) -> JsonValue:
        return {key: entry.node.plain() for key, entry in self.entries.items()}


Node = Scalar | Sequence | Mapping


def kind_of(value: Node | JsonValue) -> str:
    """For sentences: "a list", "a mapping", "text" …"""
    match value:
        case Scalar():
            return kind_of(value.value)
        case Sequence() | list():
            return "a list"
        case Mapping() | dict():
            return "a mapping"
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"


def resolve(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def compose(text: str, file: str) -> Node:
    """The one document of `text`; `file` is what locations say. Raises JobFileError."""
    if bad := _UNPRINTABLE.search(text):
        line, column = position(text, bad.start())
        character = f"U+{ord(bad[0]):04X}"
        raise JobFileError(
            [Location(file, line, column).problem(f"the character {character} cannot stand in YAML")]
        )
    composer = _Composer(file, text)
    try:
        node = composer.document()
    except yaml.MarkedYAMLError as error:
        raise JobFileError([*composer.problems, _syntax_problem(error, file, text)]) from error
    if composer.problems:
        raise JobFileError(composer.problems)
    return node


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at `offset`."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


class _Composer:
    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        # yaml.parse would do, at twice the time: it asks before it takes.
        self._next: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self._anchors: dict[str, Node | None] = {}
        """None while the node is being read: an alias to it would be inside itself."""
        self._weight = 0

    def document(self) -> Node:
        self._next()  # the stream's start
        if not isinstance(event := self._next(), DocumentStartEvent):
            self._refuse(Location(self.file, 1, 1), "the file is empty")
        node = self._node(self._next(), 0)
        self._next()  # the document's end
        # Read on: what stands behind a `---` would be left out without a word.
        if isinstance(event := self._next(), DocumentStartEvent):
            self._refuse(
                self._at(event),
                ("a second document starts here: a job file is one document, remove the '---'"),
            )
        return node

    def _node(self, event: Event, depth: int) -> Node:
        at = self._at(event)
        if depth > MAX_DEPTH:
            self._refuse(at, _TOO_DEEP)
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor or "", at)
        self._count(1, at)
        assert isinstance(event, ScalarEvent | CollectionStartEvent)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if event.tag is not None:
            self.problems.append(at.problem(f"the tag '{event.tag}' is refused: write the plain value"))
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, at)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(at, depth)
        else:
            node = self._sequence(at, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: ScalarEvent, at: Location) -> Scalar:
        if "\0" in event.value:
            self.problems.append(at.problem("a NUL character cannot be part of a text here"))
        unquoted = event.implicit[0] and not event.style
        return Scalar(at, resolve(event.value) if unquoted else event.value, event.value)

    def _sequence(self, at: Location, depth: int) -> Sequence:
        items = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(at, tuple(items), 1 + sum(item.weight for item in items))

    def _mapping(self, at: Location, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: list[Mapping] = []
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._node(event, depth + 1)
            node = self._node(self._next(), depth + 1)
            if not isinstance(key, Scalar) or key.value is None:
                self.problems.append(key.at.problem(f"a key must be text, not {kind_of(key)}"))
            elif key.text == MERGE:
                merged += self._merged(node)
            elif key.text in entries:
                line = entries[key.text].at.line
                self.problems.append(
                    key.at.problem(f"the key '{key.text}' is given twice, first in line {line}")
                )
            else:
                entries[key.text] = Entry(key.at, node)
        # What stands here wins, then an earlier mapping over a later one (https://yaml.org/type/merge.html).
        for source in merged:
            entries = {**source.entries, **entries}
        return Mapping(at, entries, 1 + sum(entry.node.weight for entry in entries.values()))

    def _merged(self, node: Node) -> list[Mapping]:
        found = node.items if isinstance(node, Sequence) else (node,)
        mappings = [item for item in found if isinstance(item, Mapping)]
        if len(mappings) != len(found):
            self.problems.append(node.at.problem("'<<' takes a mapping or a list of mappings"))
        return mappings

    def _alias(self, anchor: str, at: Location) -> Node:
        if (node := self._anchors.get(anchor)) is None:
            why = (
                "is inside the value it stands for" if anchor in self._anchors else "has no anchor before it"
            )
            self._refuse(at, f"the alias '*{anchor}' {why}")
        # An alias is free to read and not to walk: lists of aliases to lists of aliases grow exponentially.
        self._count(node.weight, at)
        return node

    def _count(self, values: int, at: Location) -> None:
        self._weight += values
        if self._weight > MAX_VALUES:
            self._refuse(
                at, f"more than {MAX_VALUES} values, counted with all aliases expanded: split the job"
            )

    def _at(self, event: Event) -> Location:
        mark = event.start_mark
        assert mark is not None  # the parser marks every event
        return Location(self.file, mark.line + 1, mark.column + 1)

    def _refuse(self, at: Location, message: str) -> NoReturn:
        raise JobFileError([*self.problems, at.problem(message)])


def _syntax_problem(error: yaml.MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark
    assert mark is not None  # libyaml marks every syntax error
    lines = text.split("\n")
    around = lines[max(0, mark.line - 1) : mark.line + 1]
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        what = "a tab cannot indent YAML: use spaces"
    elif any(re.search(r"[\[{,:]\s*\$\{\{", each) for each in around):
        what = f'{error.problem}: an expression inside {{ }} or [ ] needs quotes: "${{{{ … }}}}"'
    elif "maximum nesting depth" in (error.problem or ""):
        # libyaml 0.2.6 has a limit of its own, which it meets while it reads ahead of us.
        return Location(file, mark.line + 1, mark.column + 1).problem(_TOO_DEEP)
    elif "mapping values are not allowed" in (error.problem or ""):
        what = "unexpected ':' here: put text that contains one in quotes, or fix the indentation"
    elif "cannot start any token" in (error.problem or ""):
        what = f"a text that starts with '{line[mark.column : mark.column + 1]}' needs quotes"
    else:
        what = f"{error.problem} {error.context or ''}".rstrip()
    return Location(file, mark.line + 1, mark.column + 1).problem(f"not YAML: {what}")
