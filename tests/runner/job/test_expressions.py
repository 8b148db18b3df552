"""``${{ }}``: paths, typed where they stand alone, text where they are embedded, errors in sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from runner.job.expressions import ExpressionError, Reference, evaluate, parse, references, whole

SCOPE: dict[str, JsonValue] = {
    "vars": {"vm": "pg: 1", "n": 4, "yes": True, "nothing": None},
    "discover": {"disks": [{"key": 2000}, {"key": 16000}]},
    "disk-1": "x",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("plain", "plain", id="no-expression"),
        pytest.param("${{ discover.disks }}", [{"key": 2000}, {"key": 16000}], id="whole-is-typed"),
        pytest.param("${{discover.disks[1].key}}", 16000, id="index-and-field"),
        pytest.param("${{ vars.n }}", 4, id="number-stays-a-number"),
        pytest.param("n=${{ vars.n }}, ${{ vars.yes }}", "n=4, true", id="embedded-is-text"),
        pytest.param("${{ disk-1 }}", "x", id="hyphen-in-a-name"),
        pytest.param("$ {{ x }} {{ y }}", "$ {{ x }} {{ y }}", id="other-braces-are-text"),
        pytest.param("${{ vars.vm }}", "pg: 1", id="yaml-in-a-value-is-text"),
    ],
)
def test_evaluates(text: str, value: object) -> None:
    assert evaluate(text, SCOPE) == value


def test_evaluates_at_any_depth() -> None:
    assert evaluate({"a": [{"b": "${{ vars.n }}"}, 1, None]}, SCOPE) == {"a": [{"b": 4}, 1, None]}


def test_a_value_that_looks_like_an_expression_is_not_evaluated_again() -> None:
    assert evaluate("${{ a }} ${{ a }}", {"a": "${{ b }}"}) == "${{ b }} ${{ b }}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("${{ }}", "is not an expression", id="empty"),
        pytest.param("${{ a + b }}", "is not an expression", id="operator"),
        pytest.param("${{ open('x') }}", "is not an expression", id="call"),
        pytest.param("${{ a[-1] }}", "is not an expression", id="negative-index"),
        pytest.param("${{ a..b }}", "is not an expression", id="two-dots"),
        pytest.param("x ${{ a", "is not closed", id="open-end"),
        pytest.param("${{ vars.n }} ${{ vars.n", "is not closed", id="second-open-end"),
        pytest.param("${{ nobody }}", "there is no 'nobody' here", id="unknown-root"),
        pytest.param("${{ vars.x }}", "vars has no field 'x'", id="unknown-field"),
        pytest.param("${{ vars.n.x }}", "vars.n has no field 'x'", id="field-of-a-scalar"),
        pytest.param("${{ discover.disks[2] }}", "discover.disks has 2 elements", id="index-past-the-end"),
        pytest.param("${{ vars[0] }}", "vars is not a list", id="index-of-a-mapping"),
        pytest.param("a ${{ discover.disks }}", "is a list, which cannot stand inside a text", id="list-in-text"),
        pytest.param("a ${{ discover }}", "is a mapping", id="mapping-in-text"),
        pytest.param("a ${{ vars.nothing }}", "is nothing", id="null-in-text"),
        pytest.param("${{ vars.__class__ }}", "vars has no field '__class__'", id="no-way-into-python"),
    ],
)
def test_errors_are_sentences(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=sentence.replace("[", r"\[").replace("(", r"\(")):
        evaluate(text, SCOPE)


def test_references_are_found_in_order_at_any_depth() -> None:
    found = references({"a": "${{ x.y[0] }}-${{ z }}", "b": ["${{x}}", 3]})
    assert found == [Reference("x", ("y", 0), "x.y[0]"), Reference("z", (), "z"), Reference("x", (), "x")]


def test_spelling_does_not_matter_to_a_reference() -> None:
    assert whole("${{discover.disks[ 0 ]}}") == whole("${{   discover.disks[0] }}")
    assert whole("a ${{ b }}") is None


@given(st.text(alphabet="${} ab.[0]-", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parts = parse(text)
    except ExpressionError:
        return
    assert all(isinstance(part, Reference) or "${{" not in part for part in parts)
