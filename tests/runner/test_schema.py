"""The JSON Schema of job files: what an editor is told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from runner.annotations import fields, required
from runner.schema import DIALECT, job_schema
from runner.step import Registry
from tests.runner.job_language import REGISTRY

EXPRESSION = {"$ref": "#/$defs/expression"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return job_schema(REGISTRY)


def with_of(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (
        each["then"]["properties"]["with"]
        for each in schema["properties"]["steps"]["items"]["allOf"]
        if each["if"]["properties"]["uses"]["const"] == kind
    )
    assert isinstance(found, dict)
    return found


def test_the_top_level_is_closed_and_knows_the_sections(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DIALECT
    assert schema["additionalProperties"] is False
    assert {"version", "name", "include", "template", "vars", "hosts", "state", "steps", "stores"} == set(
        schema["properties"]
    )


def test_uses_is_one_of_the_installed_kinds(schema: dict[str, Any]) -> None:
    assert schema["properties"]["steps"]["items"]["properties"]["uses"] == {"enum": list(REGISTRY.steps)}


@pytest.mark.parametrize(
    "registry", [pytest.param(REGISTRY, id="toys"), pytest.param(Registry.installed(), id="installed")]
)
def test_each_kind_has_the_fields_of_its_models(registry: Registry) -> None:
    schema = job_schema(registry)
    for name, kind in registry.steps.items():
        found = with_of(schema, name)
        assert set(found["properties"]) == {*fields(kind.In), *fields(kind.Live)}
        assert found["required"] == [*required(kind.In), *required(kind.Live)]
        assert found["additionalProperties"] is False


def test_what_other_steps_give_is_written_as_an_expression_only(schema: dict[str, Any]) -> None:
    assert with_of(schema, "go")["properties"]["door"] == EXPRESSION
    assert with_of(schema, "join")["properties"]["all"] == EXPRESSION
    assert with_of(schema, "make")["properties"]["item"] == EXPRESSION


def test_a_value_may_be_an_expression_too(schema: dict[str, Any]) -> None:
    made = with_of(schema, "make")["properties"]
    assert made["threads"]["anyOf"] == [{"type": "integer", "minimum": 1}, EXPRESSION]
    assert made["mode"]["anyOf"][0]["enum"] == ["fast", "slow"]
    assert made["near-host"] == {"type": "string"}
    assert schema["$defs"]["SshSpec"]["properties"]["port"]["anyOf"][1] == EXPRESSION
    pattern = schema["$defs"]["expression"]["pattern"]
    assert re.search(pattern, "${{ look.items }}")
    assert not re.search(pattern, "${ look }")


def test_all_references_lead_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    assert set(re.findall(r'"#/\$defs/([^"]+)"', text)) <= set(schema["$defs"])
