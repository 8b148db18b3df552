"""`sendense templates`, and the notes of `validate` and `plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.base.render import job_templates
from runner.cli import main
from runner.job.template_variables import declared


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    found = capsys.readouterr()
    assert ended.value.code == code, found
    return found.out, found.err


def test_all_templates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed, _ = said(capsys, "templates")
    assert [line.split()[0] for line in listed.splitlines()[2:]] == list(job_templates())
    document = json.loads(said(capsys, "templates", "--json")[0])
    assert [each["name"] for each in document["templates"]] == list(job_templates())


@pytest.mark.parametrize("template", job_templates())
def test_one_shows_each_variable_with_type_default_and_meaning(
    capsys: pytest.CaptureFixture[str], template: str
) -> None:
    shown, _ = said(capsys, "templates", template)
    _, _, lines = shown.partition("meaning\n")  # below the heads of the columns, of which one is a name
    for one in declared(template).values():
        (line,) = [line for line in lines.splitlines() if line.startswith(f"{one.name} ")]
        assert one.about in line
        assert (" needed " in line) == one.needed
    document = json.loads(said(capsys, "templates", template, "--json")[0])
    assert [(each["name"], each["default"]) for each in document["variables"]] == [
        (one.name, one.default) for one in declared(template).values()
    ]


def test_types_are_said_as_people_say_them(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(said(capsys, "templates", "backup", "--json")[0])
    types = {each["name"]: each["type"] for each in document["variables"]}
    assert {
        name: types[name] for name in ("hold", "window", "quiesce", "connections", "full_every", "sample", "vm")
    } == {
        "hold": "duration",
        "window": "size",
        "quiesce": "require | try | off",
        "connections": "whole number",
        "full_every": "{points, days}",
        "sample": "percentage",
        "vm": "text",
    }


def test_an_unknown_template_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no template 'bakup'; did you mean 'backup'?" in said(capsys, "templates", "bakup", code=2)[1]


def test_another_spelling_is_noted_by_validate_and_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "version: 1\nhosts: {hub: {ssh: b@hub}}\nrepositories: {main: {host: hub, path: /backup}}\ntemplate: prune\n"
        "vars: {repository: main, retention: {keep_last: 4}}\n"
    )
    note = f"note: {job}:5:38: 'keep_last' is read as 'keep-last': write it so"
    assert note in said(capsys, "validate", str(job))[1]
    assert note in said(capsys, "plan", "--offline", str(job))[0]
    assert json.loads(said(capsys, "plan", "--offline", "--json", str(job))[0])["notes"] == [
        note.removeprefix("note: ")
    ]
