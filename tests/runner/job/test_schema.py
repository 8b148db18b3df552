"""The JSON Schema of job files: what an editor is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from runner.base.annotations import fields, required
from runner.job.schema import DIALECT, job_schema
from runner.job.top_level import KEYS_OF_SETS
from runner.step.registry import Registry
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
    known = {"version", "name", "include", "template", "vars", "hosts", "state", "steps", *KEYS_OF_SETS}
    assert {*known, "stores"} == set(schema["properties"])


def test_uses_is_one_of_the_installed_kinds(schema: dict[str, Any]) -> None:
    assert schema["properties"]["steps"]["items"]["properties"]["uses"]["enum"] == list(REGISTRY.steps)


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


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the job language that has a schema, with where it stands."""
    yield from schema["properties"].items()
    steps = schema["properties"]["steps"]["items"]
    yield from ((f"steps.{key}", found) for key, found in steps["properties"].items())
    for each in steps["allOf"]:
        kind = each["if"]["properties"]["uses"]["const"]
        fields_of = each["then"]["properties"]["with"]["properties"]
        yield from ((f"{kind}.{key}", found) for key, found in fields_of.items())
    for each in schema["allOf"]:
        template = each["if"]["properties"]["template"]["const"]
        variables = each["then"]["properties"]["vars"]["properties"]
        yield from ((f"{template}.vars.{key}", found) for key, found in variables.items())
    for name, definition in schema["$defs"].items():
        yield from ((f"{name}.{key}", found) for key, found in definition.get("properties", {}).items())


def test_every_key_of_the_job_language_says_what_it_means() -> None:
    found = dict(described(job_schema(Registry.installed())))
    assert {
        "vars",
        "steps.each",
        "snapshot.hold",
        "transfer.source",
        "backup.vars.hold",
        "Policy.keep-daily",
    } <= found.keys()
    assert [where for where, key in found.items() if not key.get("description", "").strip()] == []


def test_the_variables_of_a_template_are_typed_and_no_others_may_be_set() -> None:
    schema = job_schema(Registry.installed())
    (then,) = [each["then"] for each in schema["allOf"] if each["if"]["properties"]["template"]["const"] == "backup"]
    closed = then["else"]["properties"]["vars"]
    assert closed["additionalProperties"] is False
    assert "quiece" not in closed["properties"]
    variables = then["properties"]["vars"]["properties"]
    assert variables["quiesce"].items() >= {"enum": ["require", "try", "off"], "default": "try"}.items()
    assert variables["connections"]["type"] == "integer"
    assert variables["retention"]["$ref"] == "#/$defs/Policy"
    assert variables["vm"]["description"].endswith("Needed.")


@pytest.mark.parametrize(
    ("document", "own"),
    [
        pytest.param({"include": "site.yaml"}, False, id="of an include nothing is known"),
        pytest.param({"include": "${{ vars.lab }}/site.yaml"}, True, id="in the path of an include"),
        pytest.param({"include": ["a.yaml", "${{ vars.lab }}/site.yaml"]}, True, id="in one of several"),
        pytest.param({"hosts": {}}, True, id="beside a section"),
        pytest.param({"name": "${{ vars.site }}-db"}, True, id="in the name"),
    ],
)
def test_variables_of_ones_own_may_be_set_where_the_same_file_may_use_them(document: dict[str, Any], own: bool) -> None:
    schema = job_schema(Registry.installed())
    pattern = schema["$defs"]["expression"]["pattern"]

    def fits(value: Any, wanted: dict[str, Any]) -> bool:
        """As much of JSON Schema as the condition has."""
        if "$ref" in wanted:
            return isinstance(value, str) and re.search(pattern, value) is not None
        if "contains" in wanted:
            return isinstance(value, list) and any(fits(item, wanted["contains"]) for item in value)
        return (
            all(key in value for key in wanted.get("required", ()))
            and ("anyOf" not in wanted or any(fits(value, each) for each in wanted["anyOf"]))
            and all(fits(value[key], each) for key, each in wanted.get("properties", {}).items() if key in value)
        )

    assert fits(document, schema["allOf"][0]["then"]["if"]) is own


def test_all_references_lead_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    assert set(re.findall(r'"#/\$defs/([^"]+)"', text)) <= set(schema["$defs"])
