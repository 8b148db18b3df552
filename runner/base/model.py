"""The base of all models: frozen and strict, since a field dropped between two layers mixes up disks.

Values cross between layers, nodes and processes as JSON; `from_json_value` is the only way back in, so that a
value read from a checkpoint and a value computed a second ago are validated alike.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    TypeAdapter,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_jsonable_python

from runner.base.field_docs import field_docs
from runner.base.units import DAY, parse_duration, parse_percent, parse_size


class Mark:
    """Annotation of a field that the engine reads; see the instances below."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


HOW = Mark("how")
"""Says how the work is done, not what it is of: stays out of a node's input digest (connections, timeouts,
logins)."""

HOST = Mark("host")
"""The name of a host of the job: its identity (server, not login) enters the digest."""

RELATIVE_TO_FILE = Mark("relative to file")
"""A path; where it is relative, it is relative to the job file it stands in."""


class SectionName(Mark):
    """The name of an entry of one of the job's sections, e.g. ``SectionName("repositories")``."""

    def __init__(self, section: str) -> None:
        super().__init__(f"name in {section}")
        self.section = section


HostName = Annotated[str, HOST]
FilePath = Annotated[str, RELATIVE_TO_FILE]
Duration = Annotated[
    float, BeforeValidator(parse_duration, json_schema_input_type=str | float), Field(ge=0, le=3650 * DAY)
]
"""Seconds, of ten years at most: what is longer is a slip, and calendars end."""
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str | int)]
"""Bytes."""
Percent = Annotated[
    float, BeforeValidator(parse_percent, json_schema_input_type=str | float), Field(ge=0, le=100)
]


class Model(BaseModel):
    """A value: frozen, strict, unknown fields are errors. Fields are named as in Python."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def from_json_value(cls, value: JsonValue) -> Self:
        """Raises pydantic.ValidationError."""
        return cls.model_validate_json(json.dumps(value))

    def to_json_value(self) -> dict[str, JsonValue]:
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docs(cls).items():
            if name in cls.model_fields:
                properties[cls.model_fields[name].alias or name].setdefault("description", text)
        return schema


class JobModel(Model):
    """A model that people write in YAML: fields are spelled with hyphens there (``host-key``)."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"), populate_by_name=True
    )


def load_value(annotation: Any, value: JsonValue) -> Any:
    """`value` as the annotated type, by the rules of `Model`; raises pydantic.ValidationError."""
    # By way of JSON, as everywhere: in strict mode a list of Python's is no tuple.
    return adapter_of(annotation).validate_json(json.dumps(value), strict=True)


# To make one takes half a millisecond, and the plans of 1,000 VMs ask for the same few 27,000 times.
@lru_cache(maxsize=1024)
def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def dump_value(value: Any) -> JsonValue:
    """The JSON of a model, a tuple of models or a plain value."""
    found: JsonValue = to_jsonable_python(value, by_alias=True)
    return found


@lru_cache(maxsize=4096)
def marks_of(model: type[BaseModel], field: str) -> tuple[Mark, ...]:
    """The marks of a field, also where they stand inside ``X | None`` or ``tuple[X, ...]``."""
    info = model.model_fields[field]
    found = [mark for mark in info.metadata if isinstance(mark, Mark)]
    found.extend(_marks_within(info.annotation))
    return tuple(found)


def _marks_within(annotation: Any) -> list[Mark]:
    found = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Mark)]
    for argument in get_args(annotation):
        if not isinstance(argument, Mark):
            found.extend(_marks_within(argument))
    return found
