"""Whatever is called a job file: the answer is a job, or sentences with a place; never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.errors import JobFileError
from runner.base.render import render_template
from runner.job.load import load
from runner.job.template_variables import settled
from runner.job.writer import write_out
from runner.step.registry import Registry
from tests.runner.job_language import JOB, REGISTRY

WORDS = [
    "version", "name", "include", "template", "vars", "hosts", "state", "steps", "stores", "id", "uses", "with", "each",
    "needs", "when", "retries", "path", "host", "ssh", "password", "env", "file", "exec", "tls", "ca", "item", "look",
    "made", "door", "thing", "<<", "main", "hub", "local", "backup", "job.yaml", "", "a b",
]  # fmt: skip
EXPRESSIONS = [
    "${{ vars.thing }}", "${{ vars.list }}", "${{ look }}", "${{ look.items }}", "${{ look.items[0].text }}", "${{ item }}",
    "${{ door }}", "${{ run.id }}", "${{ vars }}", "${{", "${{ }}", "a ${{ vars.things[0].key }} b", "${{ vars.things }}",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**20), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS), st.sampled_from(EXPRESSIONS), st.text(max_size=8),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    ["${{", "}}", "[", "]", "{", "}", ": ", "- ", "\n", "\n  ", "\t", "*a", "&a ", "!x ", "'", '"', "#", "|", "|\n", ">", "<<: ",
     "---\n", "...", "\x00", "\x85", "\u2028", "\ufeff", "\U0001f600", "0x1", "1e5", "~", ", ", "? ", "%YAML 1.1", "\r"]
)  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


def check(directory: Path, content: bytes, registry: Registry = REGISTRY) -> None:
    path = directory / "job.yaml"
    path.write_bytes(content)
    try:
        job = load(path, registry, {})
    except JobFileError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.file
            assert problem.message
            assert problem.message.isprintable()
            assert "Input should" not in problem.message
        return
    assert job.steps
    # What is a job stays one when it is written out.
    path.write_text(write_out(job))
    again = load(path, registry, {})
    assert (again.name, again.vars, len(again.steps)) == (job.name, job.vars, len(job.steps))


@settings(max_examples=75, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes(directory: Path, content: bytes) -> None:
    check(directory, content)


@settings(max_examples=75, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=6), st.booleans())
def test_any_yaml(directory: Path, document: dict[str, Any], flow: bool) -> None:
    text = json.dumps(document, ensure_ascii=False) if flow else yaml.safe_dump(document, allow_unicode=True)
    check(directory, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(JOB)), st.integers(0, 6), TOKENS | st.just("")), min_size=1, max_size=4))
def test_a_job_with_typing_mistakes(directory: Path, edits: list[tuple[int, int, str]]) -> None:
    text = JOB
    for start, length, token in edits:
        text = text[:start] + token + text[start + length :]
    check(directory, text.encode())


def mutated(document: Any, where: list[int], value: Any) -> Any:
    """`document` with the part that `where` leads to replaced; `where` picks a child at each level."""
    if not where or not isinstance(document, dict | list) or not document:
        return value
    index = where[0] % len(document)
    if isinstance(document, list):
        return [mutated(item, where[1:], value) if n == index else item for n, item in enumerate(document)]
    return {k: mutated(v, where[1:], value) if n == index else v for n, (k, v) in enumerate(document.items())}


MUTATIONS = st.lists(st.tuples(st.lists(st.integers(0, 7), min_size=1, max_size=6), VALUES), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(MUTATIONS)
def test_a_job_with_other_values(directory: Path, mutations: list[tuple[list[int], Any]]) -> None:
    document = yaml.safe_load(JOB)
    for where, value in mutations:
        document = mutated(document, where, value)
    check(directory, json.dumps(document).encode())


@settings(max_examples=30, deadline=None)
@given(MUTATIONS)
def test_the_standard_backup_with_other_values(directory: Path, mutations: list[tuple[list[int], Any]]) -> None:
    text = render_template("backup", settled("backup", {"vm": "a", "vcenter": "prod", "repository": "main"}))
    site = {
        "hosts": {"hub": {"ssh": "b@hub"}},
        "vcenters": {"prod": {"server": "v", "username": "u", "password": {"env": "P"}, "tls": {"ca": "ca.pem"}}},
        "repositories": {"main": {"host": "hub", "path": "/backup"}},
    }
    document = {**site, **yaml.safe_load(text)}
    check(directory, json.dumps(document).encode(), Registry.installed())
    for where, value in mutations:
        document = mutated(document, where, value)
    check(directory, json.dumps(document).encode(), Registry.installed())
