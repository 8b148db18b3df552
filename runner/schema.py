"""The JSON Schema (draft 2020-12) of job files, for editors: made from the models of what is installed."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import JsonValue, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from runner.annotations import bare, element, fields, members, model_of, required
from runner.hosts.spec import HostSpec
from runner.job_model import DEFAULT_RETRIES, StateIn, StateSpec
from runner.job_steps import ID
from runner.model import JobModel
from runner.render import job_templates
from runner.sources import VERSION
from runner.step import AnyStep, Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_EXPRESSION: Schema = {"$ref": "#/$defs/expression"}
_MODE: JsonSchemaMode = "validation"


def job_schema(registry: Registry) -> dict[str, JsonValue]:
    """What `sendense validate` knows without looking at names: keys, kinds of steps, their fields, types."""
    wanted: list[tuple[str, Any]] = [("hosts", HostSpec), ("state", StateSpec | StateIn), *registry.sections.items()]
    for name, kind in registry.steps.items():
        wanted += [(f"{name} {key}", each) for key, each in fields(kind.In).items() if not _is_output(each)]
    adapters = [(key, _MODE, TypeAdapter(annotation)) for key, annotation in wanted]
    made, shared = TypeAdapter.json_schemas(adapters, by_alias=True, ref_template="#/$defs/{model}")
    found: dict[str, Schema] = {key: schema for (key, _), schema in made.items()}
    sections = {name: _entries(found[name]) for name in ("hosts", *registry.sections)}
    return {
        "$schema": DIALECT,
        "title": "Sendense job",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "version": {"const": VERSION},
            "name": {"type": "string"},
            "include": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "template": {"enum": list(job_templates())},
            "vars": {"type": ["object", "null"]},
            "state": found["state"],
            "steps": {"type": "array", "minItems": 1, "items": _step(registry, found)},
            **sections,
        },
        "$defs": {**_with_expressions(shared.get("$defs", {})), "expression": _expression()},
    }


def _expression() -> Schema:
    return {"type": "string", "pattern": r"\$\{\{.*\}\}", "description": "${{ step.field }}"}


def _entries(schema: Schema) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": schema}


def _step(registry: Registry, found: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "uses"],
        "properties": {
            "id": {"type": "string", "pattern": f"^{ID.pattern}$"},
            "uses": {"enum": list(registry.steps)},
            "with": {"type": ["object", "null"]},
            "each": {"type": ["object", "null"], "additionalProperties": _EXPRESSION},
            "needs": {"type": ["array", "null"], "items": {"type": "string"}},
            "when": {"enum": ["success", "always"], "default": "success"},
            "retries": {"type": "integer", "minimum": 0, "default": DEFAULT_RETRIES},
        },
        "allOf": [_kind(name, kind, found) for name, kind in registry.steps.items()],
    }


def _kind(name: str, kind: AnyStep, found: dict[str, Schema]) -> Schema:
    inputs = {key: _or_expression(found.get(f"{name} {key}")) for key in fields(kind.In)}
    needed = [*required(kind.In), *required(kind.Live)]
    with_: Schema = {
        "type": "object" if needed else ["object", "null"],
        "description": inspect.getdoc(type(kind)) or "",
        "additionalProperties": False,
        "properties": {**inputs, **dict.fromkeys(fields(kind.Live), _EXPRESSION)},
        "required": needed,
    }
    then: Schema = {"properties": {"with": with_}, **({"required": ["with"]} if needed else {})}
    return {"if": {"properties": {"uses": {"const": name}}, "required": ["uses"]}, "then": then}


def _with_expressions(definitions: dict[str, Schema]) -> dict[str, Schema]:
    """Fields of hosts and sections may be variables too."""
    return {name: _open(schema) for name, schema in definitions.items()}


def _open(schema: Schema) -> Schema:
    properties = {name: _or_expression(inner) for name, inner in schema.get("properties", {}).items()}
    return {**schema, "properties": properties} if properties else schema


def _or_expression(schema: Schema | None) -> Schema:
    if schema is None:
        return _EXPRESSION
    if schema.get("type") == "string" and schema.keys() <= {"type", "title"}:
        return schema
    return {"anyOf": [schema, _EXPRESSION]}


def _is_output(annotation: Any) -> bool:
    """Whether it holds what other steps give: nobody writes such a value by hand."""
    for member in members(annotation):
        model = model_of(member)
        if model is not None and not issubclass(model, JobModel):
            return True
        inner = element(member)
        if inner is not None and inner is not Any and bare(inner) is not bare(member) and _is_output(inner):
            return True
    return False
