"""A node's inputs, once the values are known that its fields refer to: what `validate` could not tell yet is told
with the place of the step."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from runner.base.digest import Identities
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.nodes import Nodes, StepValueError
from tests.runner.job_language import HEAD, REGISTRY, loaded

SEEN: JsonValue = {
    "thing": {"name": "n", "note": None, "tags": {"any": "tag"}},
    "items": [{"key": 1, "text": "one"}, {"key": 2, "text": "two"}],
    "pair": [3, "three"],
    "extra": {"what": [{"x": "y"}]},
}
LOOK = "{id: look, uses: look, with: {store: main, thing: x}}"
MADE = "{id: made, uses: make, with: {item: '${{ look.items[0] }}', store: main, %s}}"


def told(directory: Path, *steps: str) -> str:
    """What is wrong with the first node of the last step after `look` gave `SEEN`, as ``9:3: sentence``; empty for
    nothing."""
    job = loaded(directory, HEAD + "steps:\n" + "".join(f"- {step}\n" for step in steps))
    nodes = Nodes(job.steps, StepGraph(job.steps, REGISTRY), REGISTRY)
    resolver = Resolver(
        job, nodes, Identities(lambda host: host, lambda *names: job.sections[names[0]][names[1]]), "run"
    )
    try:
        for step in nodes.order:
            scope = resolver.each_scope(step)
            assert scope is not None
            expanded = nodes.expand(step, scope)
            if step == "look":
                resolver.know(expanded[0], SEEN, 1)
            elif step == job.steps[-1].id and expanded:
                resolver.inputs(expanded[0])
    except StepValueError as error:
        assert error.fix_first
        return error.message.removeprefix(f"{directory}/job.yaml:")
    return ""


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        pytest.param("label: '${{ look.items[0].text }}'", "", id="text"),
        pytest.param("label: '${{ look.items[0].key }}'", "label should be text, and this is a number", id="number"),
        pytest.param("label: '${{ look.thing.note }}'", "label should be text, not nothing", id="nothing"),
        pytest.param("label: 'a${{ look.items }}'", "${{ look.items }} is a list, which cannot stand inside", id="list-in-text"),
        pytest.param("label: 'a${{ look.thing.note }}'", "is nothing, which cannot stand inside a text", id="nothing-in-text"),
        pytest.param("label: 'a${{ look.pair[0] }}'", "", id="number-in-text"),
        pytest.param("label: '${{ look.extra.waht }}'", "look.extra has no field 'waht'; did you mean 'what'?", id="open-value"),
        pytest.param("label: '${{ look.thing.tags.nay }}'", "look.thing.tags has no field 'nay'; did you mean 'any'?", id="key-of-a-mapping"),
        pytest.param("mode: '${{ look.thing.name }}'", "mode should be 'fast' or 'slow', not 'n'", id="literal"),
        pytest.param("wait: '${{ look.thing.name }}'", "wait is wrong: 'n' is not a duration", id="duration"),
        pytest.param("threads: 'x${{ look.pair[0] }}'", "threads should be a whole number, not text", id="text-for-a-number"),
        pytest.param("names: ['${{ look.pair[0] }}']", "names[0] should be text, and this is a number", id="in-a-list"),
        pytest.param("options: '${{ look.thing.tags }}'", "unknown key 'any'; known are level, log-file", id="mapping-for-a-model"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_where_its_step_stands(tmp_path: Path, field: str, problem: str) -> None:
    found = told(tmp_path, LOOK, MADE % field)
    assert found.startswith("10:3: step made: ") and problem in found if problem else not found, found


@pytest.mark.parametrize(
    ("each", "problem"),
    [
        pytest.param("x: '${{ look.items }}'", "", id="models-with-a-key"),
        pytest.param("x: '${{ look.pair }}'", "", id="numbers-and-texts"),
        pytest.param("x: '${{ vars.things }}'", "", id="mappings-with-a-key"),
        pytest.param("x: '${{ look.extra }}'", "cannot fan out over ${{ look.extra }}: it is not a list", id="no-list"),
        pytest.param(
            "x: '${{ look.extra.what }}'",
            "cannot fan out over ${{ look.extra.what }}: its elements have no key, id, moref or name",
            id="no-keys",
        ),
        pytest.param(
            "t: '${{ vars.things }}', x: '${{ t.key }}'",
            "cannot fan out over ${{ t.key }}: it is not a list",
            id="of-an-earlier-variable",
        ),
        pytest.param(
            "t: '${{ vars.things }}', x: '${{ t.txet }}'", "t has no field 'txet'; did you mean 'text'?", id="misspelt"
        ),
    ],
)
def test_a_list_that_names_no_nodes_is_told_where_its_step_stands(tmp_path: Path, each: str, problem: str) -> None:
    found = told(tmp_path, LOOK, f"{{id: a, uses: end, each: {{{each}}}}}")
    assert found.startswith("10:3: step a") and problem in found if problem else not found, found
