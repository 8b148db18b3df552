"""Walking the type annotations of models: fields as YAML spells them, members of unions, elements of
lists."""

from __future__ import annotations

import types
from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, JsonValue

from runner.base.units import parse_duration, parse_percent, parse_size

_LISTS = (tuple, list, set, frozenset, AbstractSequence)
_MAPPINGS = (dict, Mapping)


def bare(annotation: Any) -> Any:
    """Without `Annotated`."""
    if isinstance(annotation, type):
        return annotation  # most are: a job of 2,000 steps asks 70,000 times
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def metadata(annotation: Any) -> tuple[Any, ...]:
    """What `Annotated` adds."""
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union at any depth, each with the metadata that stands around the union; else the
    annotation alone. `None` is a member of its own."""
    if isinstance(annotation, type):
        return (annotation,)
    inner = bare(annotation)
    if get_origin(inner) not in (Union, types.UnionType):
        return (annotation,)
    around = metadata(annotation)
    return tuple(_annotated(member, around) for each in get_args(inner) for member in members(each))


def model_of(annotation: Any) -> type[BaseModel] | None:
    inner = bare(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


@lru_cache(maxsize=1024)
def fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """Field name as YAML (or JSON) spells it → annotation with its metadata."""
    return {
        info.alias or name: _annotated(info.annotation, tuple(info.metadata))
        for name, info in model.model_fields.items()
    }


@lru_cache(maxsize=1024)
def required(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(info.alias or name for name, info in model.model_fields.items() if info.is_required())


def field(annotation: Any, name: str) -> Any | None:
    """The annotation of that field of a model, or of the values of a mapping; None if there is no such
    field."""
    if (model := model_of(annotation)) is not None:
        return fields(model).get(name)
    inner = bare(annotation)
    if get_origin(inner) in _MAPPINGS:
        return get_args(inner)[1]
    return Any if is_open(inner) or inner in _MAPPINGS else None


def element(annotation: Any, index: int | None = None) -> Any | None:
    """The annotation of a list's elements; None if it is no list, or a tuple too short for `index`."""
    inner = bare(annotation)
    if is_open(inner) or inner in _LISTS:
        return Any
    if get_origin(inner) not in _LISTS:
        return None
    arguments = get_args(inner)
    if get_origin(inner) is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis):
        return arguments[0]
    if index is None:
        return Union[arguments]  # noqa: UP007 - made at run time
    return arguments[index] if index < len(arguments) else None


def inside(annotation: Any, part: str | int) -> Any:
    """The annotation of a field or an element, in the first member of a union that has it; Any if none
    has."""
    for member in members(annotation):
        found = field(member, part) if isinstance(part, str) else element(member, part)
        if found is not None:
            return found
    return Any


def is_open(annotation: Any) -> bool:
    """Whether it takes anything JSON has, so that nothing can be said of it."""
    inner = bare(annotation)
    return inner is Any or inner is object or inner is JsonValue


_READ_BY: Mapping[object, str] = {
    parse_duration: "duration",
    parse_size: "size",
    parse_percent: "percentage",
}
"""What people call values that are written as text and read as numbers."""


def spelled(annotation: Any, either: str = "or") -> str:
    """For sentences: ``Disk``, ``list of Disk``, ``text``, ``duration``, ``a or b``; for tables `either` is
    ``|``."""
    inner, between = bare(annotation), f" {either} "
    if inner is None or inner is type(None):
        return "nothing"
    for mark in metadata(annotation):
        if isinstance(mark, BeforeValidator):
            return _READ_BY.get(mark.func) or spelled(mark.json_schema_input_type, either)
    if get_origin(inner) is Literal:
        return between.join(str(value) for value in get_args(inner))
    if (item := element(annotation)) is not None and not is_open(annotation):
        return f"list of {spelled(item, either)}"
    if get_origin(inner) in _MAPPINGS or inner in _MAPPINGS:
        return "mapping"
    if len(several := members(annotation)) > 1:
        return between.join(dict.fromkeys(spelled(member, either) for member in several))
    names = {str: "text", int: "whole number", float: "number", bool: f"true{between}false"}
    return names.get(inner) or str(getattr(inner, "__name__", inner))


def _annotated(annotation: Any, around: tuple[Any, ...]) -> Any:
    return Annotated[(annotation, *around)] if around else annotation
