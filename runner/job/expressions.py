"""``${{ discover.disks[0].key }}``: paths into values, and nothing else.

There are no calls and no operators, so evaluating an expression of a stranger's job file can do nothing but
look a value up. The roots are `vars`, `run` (`run.id`, `run.job`), the ids of steps, and the variables of a
step's `each`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue

from runner.base.errors import UsageError
from runner.base.suggestion import did_you_mean
from runner.base.yaml_nodes import kind_of

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
"""What an expression can name: ids of steps, variables, fields."""

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_PART = re.compile(rf"\.({NAME.pattern})|\[\s*([0-9]{{1,9}})\s*\]", re.ASCII)


class ExpressionError(UsageError):
    """The text is not an expression, or the scope does not have what it names."""


@dataclass(frozen=True)
class Reference:
    """`text` is the path as it is written canonically: ``discover.disks[0].key``."""

    root: str
    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return f"${{{{ {self.text} }}}}"


def references(value: JsonValue) -> list[Reference]:
    """Those of all strings at any depth, in order. Raises ExpressionError."""
    match value:
        case str():
            return [part for part in parse(value) if isinstance(part, Reference)]
        case list():
            return [reference for item in value for reference in references(item)]
        case dict():
            return [reference for item in value.values() for reference in references(item)]
        case _:
            return []


def evaluate(value: JsonValue, scope: Mapping[str, JsonValue]) -> JsonValue:
    """`value` with its expressions replaced. A string that is one expression gives the value as it is, an
    expression inside a longer string must be a scalar and gives text. Raises ExpressionError."""
    match value:
        case str():
            return _evaluate_text(value, scope)
        case list():
            return [evaluate(item, scope) for item in value]
        case dict():
            return {key: evaluate(item, scope) for key, item in value.items()}
        case _:
            return value


def whole(text: str) -> Reference | None:
    """The reference, if `text` is one expression and nothing else. Raises ExpressionError."""
    parts = parse(text)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Reference) else None


# Each text is read when it is checked, for the graph, and again for every node of its step.
@lru_cache(maxsize=8192)
def parse(text: str) -> tuple[str | Reference, ...]:
    """The pieces of `text`: what is between expressions, and the expressions. Raises ExpressionError."""
    if "${{" not in text:
        return (text,)
    parts: list[str | Reference] = []
    end = 0
    for match in _EXPRESSION.finditer(text):
        parts += [text[end : match.start()], _reference(match[1])]
        end = match.end()
    parts.append(text[end:])
    # What the pattern left: a `${{` without its `}}`, which must not go out into a command as it is.
    if any(isinstance(part, str) and "${{" in part for part in parts):
        raise ExpressionError("an expression is not closed: write ${{ name.field }}")
    return tuple(part for part in parts if part != "")


def text_of(value: JsonValue, reference: Reference) -> str:
    """A scalar inside a longer string. Raises ExpressionError."""
    if isinstance(value, bool):  # as YAML and JSON write it, not Python
        return "true" if value else "false"
    if value is None or isinstance(value, list | dict):
        raise ExpressionError(f"{reference} is {kind_of(value)}, which cannot stand inside a text")
    return str(value)


def look_up(reference: Reference, scope: Mapping[str, JsonValue]) -> JsonValue:
    """Raises ExpressionError where the scope has no such value."""
    if reference.root not in scope:
        raise ExpressionError(f"{reference}: there is no '{reference.root}' here")
    value = scope[reference.root]
    walked = reference.root
    for part in reference.path:
        if isinstance(part, int):
            if not isinstance(value, list):
                raise ExpressionError(f"{reference}: {walked} is not a list")
            if part >= len(value):
                raise ExpressionError(f"{reference}: {walked} has {len(value)} elements")
            value = value[part]
            walked += f"[{part}]"
        else:
            if not isinstance(value, dict) or part not in value:
                hint = did_you_mean(part, value) if isinstance(value, dict) else ""
                raise ExpressionError(f"{reference}: {walked} has no field '{part}'{hint}")
            value = value[part]
            walked += f".{part}"
    return value


def _evaluate_text(text: str, scope: Mapping[str, JsonValue]) -> JsonValue:
    parts = parse(text)
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return look_up(parts[0], scope)
    return "".join(part if isinstance(part, str) else text_of(look_up(part, scope), part) for part in parts)


def _reference(inside: str) -> Reference:
    source = inside.strip()
    root = NAME.match(source)
    path: list[str | int] = []
    end = root.end() if root else 0
    while root and (part := _PART.match(source, end)):
        path.append(part[1] if part[2] is None else int(part[2]))
        end = part.end()
    if root is None or end != len(source):
        raise ExpressionError(
            f"'${{{{ {source} }}}}' is not an expression: write a path such as ${{{{ discover.disks[0].key "
            f"}}}}"
        )
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return Reference(root[0], tuple(path), root[0] + written)
