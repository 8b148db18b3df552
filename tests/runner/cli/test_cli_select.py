"""sendense select, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runner.cli.test_cli_job import exit_code
from tests.runner.toy_sets import installed, set_of


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


LINES = ("db1 red", "db2 green", "web1 red", "web2 red template", "test1 green")
RULES = 'any: [{name: "db*"}, {colour: red}, {name: "mail*"}], not: [{name: "*2"}]'


def listed(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    exit_code("select", path, "--json", *more)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_it_lists_what_matches_and_by_which_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_of(tmp_path, *LINES, select=RULES)
    found = listed(path, capsys)
    assert [(item["name"], item["rule"]) for item in found["items"]] == [("db1", "name db*"), ("web1", "colour red")]
    assert [(one["name"], one["why"], one["by"]) for one in found["left_out"]] == [
        ("db2", "not: name *2", "rule"),
        ("web2", "not: name *2", "rule"),
    ]
    assert list(found["unfit"]) == ["name mail*"]
    assert exit_code("select", path) == 0
    out = capsys.readouterr().out
    assert out.startswith("gold selects 2 VMs of shelves.a\n")
    assert "\n\nLeft out by `not` (2)\n" in out
    assert "\n\nRules that fit no VM\n" in out


def test_what_cannot_be_worked_on_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("select", set_of(tmp_path, *LINES)) == 0
    out = capsys.readouterr().out
    assert "gold selects 4 VMs" in out
    assert "Left out: cannot be worked on (1)" in out
    assert out.rstrip().endswith("template")


def test_fewer_than_at_least_is_an_error_that_names_the_rules_that_fit_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = set_of(tmp_path, *LINES, select='any: [{name: "mail*"}], at-least: 3')
    assert exit_code("select", path) == 1
    said = capsys.readouterr()
    assert "gold selects no VM of shelves.a, and at least 3 are expected" in said.err
    assert "the rule 'name mail*' fits nothing" in said.err
    path = set_of(tmp_path, *LINES, select='any: [{name: "mail*"}], at-least: 0')
    assert exit_code("select", path) == 0


def test_what_could_not_be_read_is_named_and_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_of(tmp_path, "db1 red", "db2 red no privilege")
    assert exit_code("select", path) == 1
    said = capsys.readouterr()
    assert "Not known whether selected (1)" in said.out
    assert "whether /red/db2 is selected cannot be told: no privilege" in said.err


def test_a_census_that_cannot_be_taken_is_no_empty_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_of(tmp_path, select="at-least: 0")
    (tmp_path / "items").unlink()
    assert exit_code("select", path) == 1
    assert capsys.readouterr().err == "sendense: a cannot be read\n"


@pytest.mark.parametrize(
    ("only", "names"),
    [
        pytest.param(["db1"], ["db1"], id="name"),
        pytest.param(["/red/web1"], ["web1"], id="path"),
        pytest.param(["id-test1"], ["test1"], id="id"),
        pytest.param(["DB*"], ["db2", "db1"], id="pattern"),
        pytest.param(["db1", "web1"], ["db1", "web1"], id="several"),
    ],
)
def test_only_names_some_of_them(
    tmp_path: Path, only: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--only={name}" for name in only]
    assert [item["name"] for item in listed(set_of(tmp_path, *LINES), capsys, *words)["items"]] == names


@pytest.mark.parametrize(
    ("only", "sentence"),
    [
        pytest.param("dbb1", "the set selects none that is called so; did you mean 'db1'?", id="misspelt"),
        pytest.param("web2", "the set leaves it out: template", id="left-out"),
        pytest.param(
            "twin", "2 are called so: give the path of the one you mean: /red/twin#1, /red/twin#2", id="twins"
        ),
    ],
)
def test_a_name_that_means_none_of_them_is_bad_usage(
    tmp_path: Path, only: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("select", set_of(tmp_path, *LINES, "twin#1 red", "twin#2 red"), "--only", only) == 2
    assert sentence in capsys.readouterr().err


def test_one_job_is_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_of(tmp_path)
    path.write_text("version: 1\nname: one\nsteps: [{id: look, uses: look, with: {root: /a}}]\n")
    assert exit_code("select", path) == 2
    assert "one is one job and no set" in capsys.readouterr().err


def test_a_thousand_are_laid_out_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_of(tmp_path, *(f"vm-{number} red" for number in range(1000)))
    assert exit_code("select", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1002
    assert len({len(line) for line in lines[2:]}) == 1
    assert (tmp_path / "items.asked").read_text() == "x"
