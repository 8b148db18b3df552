"""A job's `vars`: literals, set in the file, in what it includes, in its template, or by ``--set``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as AbstractMapping

from pydantic import JsonValue

from runner.base.errors import JobFileError, Problem
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import Entry, Location, Mapping, Node, Scalar, Sequence, compose, resolve
from runner.job.expressions import NAME, ExpressionError, Reference, evaluate, look_up, references
from runner.job.selection import EACH, Given

ROOT = "vars"


class Unsettled(Exception):
    """A value refers to what is not known; what is wrong has been said."""


class Variables:
    """`values` by name, `at` where each was set; `problems` gathers what is wrong with them and with their
    use."""

    def __init__(self, problems: list[Problem]) -> None:
        self.values: dict[str, JsonValue] = {}
        self.at: dict[str, Location] = {}
        self._problems = problems
        self._given: AbstractMapping[str, Given] = {}

    def give(self, given: AbstractMapping[str, Given]) -> None:
        """What a set gives to its children, from the next `set` on."""
        self._given = given

    def set(self, entries: AbstractMapping[str, Entry], overrides: AbstractMapping[str, str]) -> None:
        """Made again, from a file's entries. A value that was text stays text when it is overridden, so that
        a VM called 2024 can be named; any other override is read as a YAML scalar."""
        self.values = {}
        self.at = {}
        for name, entry in entries.items():
            if not NAME.fullmatch(name):
                self._say(
                    entry.at, f"'{name}' cannot be used in ${{{{ vars.… }}}}: use letters, digits, - and _"
                )
            for scalar in scalars(entry.node):
                if isinstance(scalar.value, str) and "${{" in scalar.value:
                    self._say(scalar.at, f"vars.{name} has an expression in it: a variable is a plain value")
            self.values[name] = entry.node.plain()
            self.at[name] = entry.node.at
        for name, text in overrides.items():
            self.at[name] = Location(f"--set {name}", 0, 0)
            # Text with an expression in it stays text, to be refused as that.
            keep = isinstance(self.values.get(name), str) or "${{" in text
            self.values[name] = text if keep else _scalar(text)
            if "${{" in text:
                self._say(self.at[name], "an expression cannot be the value of a variable")
            if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
                self._say(self.at[name], "not UTF-8 text")
        for name, one in self._given.items():
            self.values[name], self.at[name] = one.value or EACH, one.at

    def check_overrides(self, overrides: AbstractMapping[str, str], known: Collection[str]) -> None:
        for name in overrides:
            if name not in known and name not in self._given:
                hint = did_you_mean(name, known) or (f"; known are {', '.join(known)}" if known else "")
                self._say(self.at[name], f"the job has no variable '{name}'{hint}")

    @property
    def scope(self) -> dict[str, JsonValue]:
        return {ROOT: self.values}

    def knows(self, reference: Reference, at: Location) -> bool:
        """Whether ``vars.…`` leads to a value; says so if not."""
        if not reference.path:
            self._say(
                at,
                f"{reference}: name a variable, for example ${{{{ vars.{next(iter(self.values), 'vm')} }}}}",
            )
            return False
        name = str(reference.path[0])
        if name not in self.values:
            hint = did_you_mean(name, self.values) or (
                f"; known are {', '.join(self.values)}" if self.values else ""
            )
            self._say(at, f"unknown variable '{name}' in {reference}{hint}")
            return False
        try:
            look_up(reference, self.scope)
        except ExpressionError as error:
            self._say(at, error.message)
            return False
        return True

    def differs(self, reference: Reference) -> bool:
        """Whether each child of the set has its own value of it."""
        given = self._given.get(str(reference.path[0])) if reference.path else None
        return reference.root == ROOT and given is not None and given.value is None

    def settled(self, node: Node, value: JsonValue, where: str) -> JsonValue:
        """`value` (of `node`) with its variables put in. Raises Unsettled if it refers to anything else or
        unknown."""
        # All that is wrong is said before anything is put in: `evaluate` would stop at the first.
        before = len(self._problems)
        for scalar in scalars(node):
            if not isinstance(scalar.value, str) or "${{" not in scalar.value:
                continue
            try:
                found = references(scalar.value)
            except ExpressionError as error:
                self._say(scalar.at, error.message)
                continue
            for reference in found:
                if reference.root != ROOT:
                    self._say(
                        scalar.at, f"{reference}: only variables (${{{{ vars.… }}}}) can stand in {where}"
                    )
                elif self.knows(reference, scalar.at) and self.differs(reference):
                    self._say(
                        scalar.at,
                        f"{reference} differs from run to run of a set: it can stand in steps only, not in "
                        f"{where}",
                    )
        if len(self._problems) > before:
            raise Unsettled
        try:
            return evaluate(value, self.scope)
        except ExpressionError as error:
            self._say(node.at, error.message)
            raise Unsettled from error

    def _say(self, at: Location, message: str) -> None:
        self._problems.append(at.problem(message))


def scalars(node: Node) -> list[Scalar]:
    """All of them, at any depth, in order."""
    match node:
        case Scalar():
            return [node]
        case Sequence():
            return [scalar for item in node.items for scalar in scalars(item)]
        case Mapping():
            return [scalar for entry in node.entries.values() for scalar in scalars(entry.node)]


def variables_in(nodes: Iterable[Node]) -> set[str]:
    """The names of variables that expressions in them use; a bad expression uses none."""
    found = set()
    for scalar in (scalar for node in nodes for scalar in scalars(node)):
        try:
            used = references(scalar.value) if isinstance(scalar.value, str) else []
        except ExpressionError:
            continue
        found |= {str(reference.path[0]) for reference in used if reference.root == ROOT and reference.path}
    return found


def only_variables(value: JsonValue) -> bool:
    """Whether all that `value` refers to is known before anything runs. Raises ExpressionError."""
    return all(reference.root == ROOT for reference in references(value))


def _scalar(text: str) -> JsonValue:
    """``4`` is a number, ``"4"`` text; nothing but scalars: a VM may be called ``[a]`` or ``a: b``."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        try:
            node = compose(text, "")
        except JobFileError:
            return text
        return node.plain() if isinstance(node, Scalar) else text
    return resolve(text)
