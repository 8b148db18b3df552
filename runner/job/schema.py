"""The JSON Schema (draft 2020-12) of job files, for editors: made from the models of what is installed."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from runner.base.annotations import bare, element, fields, members, model_of, required
from runner.base.field_docs import field_docs
from runner.base.model import JobModel
from runner.base.render import job_templates
from runner.hosts.spec import HostSpec, LocalSpec
from runner.job.keys import kinds
from runner.job.model import DEFAULT_RETRIES, LOCAL, StateIn, StateSpec
from runner.job.sources import KEYS, VERSION
from runner.job.steps import ID, StepEntry
from runner.job.template_variables import Variable, declared
from runner.job.top_level import KEYS_OF_SETS
from runner.step.registry import Registry
from runner.step.step import AnyStep

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_EXPRESSION: Schema = {"$ref": "#/$defs/expression"}
_MODE: JsonSchemaMode = "validation"


def job_schema(registry: Registry) -> dict[str, JsonValue]:
    """What `sendense validate` knows without looking at names: keys, kinds of steps, their fields, types."""
    wanted: list[tuple[str, Any]] = [
        ("hosts", HostSpec),
        ("this machine", Literal["local"] | LocalSpec),
        ("state", StateSpec | StateIn),
        ("slots", StateSpec | StateIn),
        *kinds(registry).items(),
        *registry.sections.items(),
    ]
    for name, kind in registry.steps.items():
        wanted += [(f"{name} {key}", each) for key, each in fields(kind.In).items() if not _is_output(each)]
    for template in job_templates():
        variables = declared(template).values()
        wanted += [(f"template {template} {one.name}", one.annotation(registry)) for one in variables]
    # All at once, so that models which several share are defined once, below `$defs`.
    adapters = [(key, _MODE, TypeAdapter(annotation)) for key, annotation in wanted]
    made, shared = TypeAdapter.json_schemas(adapters, by_alias=True, ref_template="#/$defs/{model}")
    found: dict[str, Schema] = {key: schema for (key, _), schema in made.items()}
    about = {**KEYS, **{name: f"{_summary(model)} By name." for name, model in registry.sections.items()}}
    entries: dict[str, Schema] = {
        name: {"type": ["object", "null"], "additionalProperties": found[name]}
        for name in ("hosts", *registry.sections)
    }
    entries["hosts"]["properties"] = {LOCAL: found["this machine"]}
    properties: dict[str, Schema] = {
        "version": {"const": VERSION},
        "name": {"type": "string"},
        "include": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "template": {"enum": list(job_templates())},
        "vars": {"type": ["object", "null"]},
        "state": found["state"],
        "steps": {"type": "array", "minItems": 1, "items": _step(registry, found)},
        **{key: found[key] for key in KEYS_OF_SETS},
        **entries,
    }
    # Fields of hosts and sections may be variables too.
    definitions: Schema = {name: _open(schema) for name, schema in shared.get("$defs", {}).items()}
    definitions["expression"] = {
        "type": "string",
        "pattern": r"\$\{\{.*\}\}",
        "description": "${{ step.field }}",
    }
    return {
        "$schema": DIALECT,
        "title": "Sendense job",
        "type": "object",
        "additionalProperties": False,
        "properties": {key: {**schema, "description": about[key]} for key, schema in properties.items()},
        "allOf": [_of_template(name, found, tuple(registry.sections)) for name in job_templates()],
        "$defs": definitions,
    }


def _summary(model: type) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _of_template(name: str, found: dict[str, Schema], sections: tuple[str, ...]) -> Schema:
    """Its variables. No others may be set, unless something in the same file may use them: a path of
    `include`, or an entry of a section."""
    variables = {
        one.name: _variable(one, found[f"template {name} {one.name}"]) for one in declared(name).values()
    }
    is_it = {"properties": {"template": {"const": name}}, "required": ["template"]}
    in_include = {
        "properties": {"include": {"anyOf": [_EXPRESSION, {"contains": _EXPRESSION, "type": "array"}]}}
    }
    in_name: Schema = {"properties": {"name": _EXPRESSION}, "required": ["name"]}
    sections = ("hosts", *sections)
    elsewhere = [{**in_include, "required": ["include"]}, in_name, *({"required": [key]} for key in sections)]
    return {
        "if": is_it,
        "then": {
            "properties": {"vars": {"properties": variables}},
            "if": {"anyOf": elsewhere},
            "else": {"properties": {"vars": {"properties": variables, "additionalProperties": False}}},
        },
    }


def _variable(variable: Variable, schema: Schema) -> Schema:
    told = [variable.about]
    if variable.only_with is not None:
        told.append(f"Only with {variable.only_with}.")
    if variable.needed:
        return {**schema, "description": " ".join([*told, "Needed."])}
    return {**schema, "description": " ".join(told), "default": variable.default}


def _step(registry: Registry, found: dict[str, Schema]) -> Schema:
    docs = _docs(StepEntry)
    properties: dict[str, Schema] = {
        "id": {"type": "string", "pattern": f"^{ID.pattern}$"},
        "uses": {"enum": list(registry.steps)},
        "with": {"type": ["object", "null"]},
        "each": {"type": ["object", "null"], "additionalProperties": _EXPRESSION},
        "needs": {"type": ["array", "null"], "items": {"type": "string"}},
        "when": {"enum": ["success", "always"], "default": "success"},
        "retries": {"type": "integer", "minimum": 0, "default": DEFAULT_RETRIES},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "uses"],
        "properties": {key: {**schema, "description": docs[key]} for key, schema in properties.items()},
        "allOf": [_kind(name, kind, found) for name, kind in registry.steps.items()],
    }


def _kind(name: str, kind: AnyStep, found: dict[str, Schema]) -> Schema:
    docs = {**_docs(kind.In), **_docs(kind.Live)}
    inputs = {key: _or_expression(found.get(f"{name} {key}")) for key in fields(kind.In)}
    every = {**inputs, **dict.fromkeys(fields(kind.Live), _EXPRESSION)}
    needed = [*required(kind.In), *required(kind.Live)]
    with_: Schema = {
        "type": "object" if needed else ["object", "null"],
        "description": inspect.getdoc(type(kind)) or "",
        "additionalProperties": False,
        "properties": {
            key: {**schema, "description": docs[key]} if key in docs else schema
            for key, schema in every.items()
        },
        "required": needed,
    }
    then: Schema = {"properties": {"with": with_}, **({"required": ["with"]} if needed else {})}
    return {"if": {"properties": {"uses": {"const": name}}, "required": ["uses"]}, "then": then}


def _docs(model: type[BaseModel]) -> dict[str, str]:
    """By the field's name in YAML."""
    docs = field_docs(model)
    return {info.alias or name: docs[name] for name, info in model.model_fields.items() if name in docs}


def _open(schema: Schema) -> Schema:
    properties = {name: _or_expression(inner) for name, inner in schema.get("properties", {}).items()}
    return {**schema, "properties": properties} if properties else schema


def _or_expression(schema: Schema | None) -> Schema:
    if schema is None:
        return _EXPRESSION
    # Any text takes an expression as it is; a pattern or a list of words does not.
    if schema.get("type") == "string" and schema.keys() <= {"type", "title", "description"}:
        return schema
    about = {key: schema[key] for key in ("description",) if key in schema}
    return {
        "anyOf": [{key: value for key, value in schema.items() if key not in about}, _EXPRESSION],
        **about,
    }


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
