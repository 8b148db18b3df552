"""What a reference gives, as far as it can be known before a run, and whether it fits where it is used."""

from __future__ import annotations

import datetime
import enum
import pathlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, JsonValue, PlainValidator, ValidationError, WrapValidator
from pydantic_core import PydanticUndefined

from runner.base.annotations import (
    bare,
    element,
    field,
    fields,
    is_open,
    members,
    metadata,
    model_of,
    spelled,
)
from runner.base.model import load_value
from runner.base.suggestion import did_you_mean
from runner.job.model import KEY_FIELDS

NOTHING = type(None)


@dataclass(frozen=True)
class Typed:
    """A value of that annotation."""

    annotation: Any

    def __str__(self) -> str:
        return spelled(self.annotation)


@dataclass(frozen=True)
class Known:
    """One of these values: what stands in `vars` is known now."""

    values: tuple[JsonValue, ...]

    def __str__(self) -> str:
        return spelled(_annotation(self.values))


Shape = Typed | Known

ANYTHING = Typed(Any)


class NoSuchPart(Exception):
    """`message` completes a sentence that names the whole reference."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def part_of(shape: Shape, path: Sequence[str | int], walked: str) -> Shape:
    """What `path` leads to; `walked` is how messages call `shape`. Raises NoSuchPart."""
    for part in path:
        shape = (
            _known_part(shape, part, walked) if isinstance(shape, Known) else _typed_part(shape, part, walked)
        )
        walked += f"[{part}]" if isinstance(part, int) else f".{part}"
    return shape


def element_of(shape: Shape) -> Shape | None:
    """Of a list; None if it is none."""
    if isinstance(shape, Known):
        lists = [value for value in shape.values if isinstance(value, list)]
        return (
            Known(tuple(item for value in lists for item in value))
            if len(lists) == len(shape.values)
            else None
        )
    found = [element(member) for member in members(shape.annotation)]
    return None if None in found else Typed(_union(found))


def list_of(shape: Typed) -> Typed:
    return Typed(tuple[shape.annotation, ...])  # type: ignore[name-defined]


def is_scalar(shape: Shape) -> bool:
    """Whether it can stand inside a longer text."""
    if isinstance(shape, Known):
        return all(isinstance(value, str | int | float | bool) for value in shape.values)
    return all(is_open(member) or _kinds(member) - {NOTHING} for member in members(shape.annotation))


def has_key(shape: Shape) -> bool:
    """Whether it can name the node that an `each` makes of it."""
    if isinstance(shape, Known):
        return all(
            type(value) in (int, str)
            or (isinstance(value, dict) and any(type(value.get(name)) in (int, str) for name in KEY_FIELDS))
            for value in shape.values
        )
    return all(_has_key(member) for member in members(shape.annotation))


def fits(shape: Shape, target: Any) -> bool:
    """Whether each value of `shape` may be one of the annotation `target`; where only the run can tell, it
    is."""
    if isinstance(shape, Typed):
        return _fits(shape.annotation, target)
    try:
        for value in shape.values:
            load_value(target, value)
    except ValidationError:
        return False
    return True


def _has_key(annotation: Any) -> bool:
    if (model := model_of(annotation)) is None:
        # What a mapping holds, only the run can tell.
        kinds = _kinds(annotation)
        return kinds <= {int, str} and (bool(kinds) or is_open(annotation) or element(annotation) is None)
    return any(_kinds(each) & {int, str} for name, each in fields(model).items() if name in KEY_FIELDS)


def _known_part(shape: Known, part: str | int, walked: str) -> Shape:
    inner = []
    for value in shape.values:
        if isinstance(part, int):
            if not isinstance(value, list) or part >= len(value):
                raise NoSuchPart(f"{walked} has no element [{part}]")
            inner.append(value[part])
        else:
            if not isinstance(value, dict) or part not in value:
                keys = list(value) if isinstance(value, dict) else []
                raise NoSuchPart(f"{walked} has no field '{part}'{did_you_mean(part, keys)}")
            inner.append(value[part])
    return Known(tuple(inner))


def _typed_part(shape: Typed, part: str | int, walked: str) -> Shape:
    several = members(shape.annotation)
    look = [element(each, part) if isinstance(part, int) else field(each, part) for each in several]
    found = [each for each in look if each is not None]
    if not found:
        raise NoSuchPart(_absent(shape, part, walked))
    # Where the value may be nothing, so may be its part.
    return Typed(_union([*found, *(each for each in several if each is NOTHING)]))


def _absent(shape: Typed, part: str | int, walked: str) -> str:
    if isinstance(part, int):
        return f"{walked} has no element [{part}]: it is {shape}"
    models = [model for each in members(shape.annotation) if (model := model_of(each)) is not None]
    known = [name for model in models for name in fields(model)]
    if known:
        hint = did_you_mean(part, known) or f"; it has {', '.join(known)}"
        return f"{walked} has no field '{part}'{hint}"
    hint = "; it is one for each, so take an element: [0]" if element(shape.annotation) is not None else ""
    return f"{walked} has no field '{part}': it is {shape}{hint}"


def _fits(source: Any, target: Any) -> bool:
    if is_open(source):
        return True
    taken = [each for member in members(target) for each in members(_input_of(member))]
    return all(any(_fits_member(given, each) for each in taken) for given in members(source))


def _fits_member(given: Any, target: Any) -> bool:
    if is_open(given) or is_open(target):
        return True
    given_model, target_model = model_of(given), model_of(target)
    if given_model is not None and target_model is not None:
        return issubclass(given_model, target_model)
    given_element, target_element = element(given), element(target)
    if given_element is not None and target_element is not None:
        return _fits(given_element, target_element)
    given_kinds, target_kinds = _kinds(given), _kinds(target)
    if given_kinds or target_kinds:
        if get_origin(bare(given)) is Literal and get_origin(bare(target)) is Literal:
            return set(get_args(bare(given))) <= set(get_args(bare(target)))
        return bool(given_kinds) and (
            given_kinds <= target_kinds or (given_kinds == {int} and float in target_kinds)
        )
    # A model and a mapping, two mappings, or types that only the run can compare.
    return (given_element is None) == (target_element is None)


def _input_of(target: Any) -> Any:
    """What may be written where a validator turns it into `target`."""
    for mark in metadata(target):
        if isinstance(mark, BeforeValidator | PlainValidator | WrapValidator):
            declared = mark.json_schema_input_type
            return Any if declared is PydanticUndefined else declared
    return target


_TEXTS = (str, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, pathlib.PurePath, bytes)


def _kinds(annotation: Any) -> set[type]:
    """The kinds of JSON scalars that a value of it can be; empty if it is no scalar, or not known to be
    one."""
    inner = bare(annotation)
    if inner is None or inner is NOTHING:
        return {NOTHING}
    if get_origin(inner) is Literal:
        return {type(value) for value in get_args(inner)}
    if not isinstance(inner, type):
        return set()
    if issubclass(inner, enum.Enum):
        return {type(member.value) for member in inner}
    if issubclass(inner, _TEXTS):
        return {str}
    return {inner} & {bool, int, float}


def _annotation(values: Sequence[JsonValue]) -> Any:
    """For sentences about values."""
    kinds: list[Any] = []
    for value in values:
        match value:
            case list():
                kinds.append(tuple[_annotation(value), ...])  # type: ignore[misc]
            case dict():
                kinds.append(dict)
            case _:
                kinds.append(type(value))
    return _union(kinds)


def _union(annotations: Sequence[Any]) -> Any:
    return Union[tuple(annotations)] if annotations else Any  # noqa: UP007 - made at run time
