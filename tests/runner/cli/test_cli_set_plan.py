"""plan, render and validate of a set, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runner.app.test_set_plan import PICK
from tests.runner.cli.test_cli_job import exit_code
from tests.runner.toy_sets import installed, set_of

LINES = ("db1 red", "db2 green", "web1 red")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return set_of(tmp_path, *LINES, select='any: [{name: "*1"}, {colour: green}]', steps=PICK)


def test_a_plan_is_a_line_for_each_and_what_they_come_to(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("plan", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gold: 3 VMs: 2 incremental, 1 full."
    assert "set      name *1 or colour green of shelves.a; at least 1" in lines
    assert "disks    10 of 10.0 KiB" in lines
    assert "VM    what         disks     size  why" in lines
    assert "db2   full             3  3.0 KiB  it is green" in lines
    assert "store      red      2      7  7.0 KiB" in lines


def test_some_of_them_are_planned_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("plan", path, "--only", "db*", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["rows"]] == ["db2", "db1"]
    assert document["selected"] == 3
    assert exit_code("plan", path, "--only", "db1") == 0
    assert "gold: 1 VM of the 3 that are selected: 1 incremental." in capsys.readouterr().out


def test_a_problem_is_exit_code_1_and_stands_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("plan", set_of(tmp_path, "locked1 red", "db1 red", steps=PICK)) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "problem: locked1: locked1 is locked by somebody else"
    assert "PROBLEM, see below" in out


def test_a_plan_for_a_merge_request_is_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("plan", path, "--format", "md") == 0
    out = capsys.readouterr().out
    assert out.startswith("### Plan of the set `gold`")
    assert "| db2 | full | 3 | 3.0 KiB | it is green |" in out


def test_offline_it_shows_rules_and_settings_and_asks_nobody(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path.parent / "items").unlink()
    assert exit_code("plan", path, "--offline") == 0
    out = capsys.readouterr().out
    assert out.startswith("gold is a set, and starts a run for each VM: ")
    assert "set      name *1 or colour green of shelves.a; at least 1" in out
    assert "each-of-the-set" not in out


def test_against_another_version_it_shows_what_changes_of_the_rules(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.parent / "before"
    before.mkdir()
    (before / path.name).write_text(path.read_text())
    path.write_text(path.read_text().replace('{name: "*1"}', '{name: "*2"}'))
    assert exit_code("plan", path, "--offline", "--against", before) == 0
    out = capsys.readouterr().out
    assert "-set: name *1 or colour green of shelves.a; at least 1" in out
    assert "+set: name *2 or colour green of shelves.a; at least 1" in out
    assert "select.any" in out
    assert exit_code("plan", path, "--against", before) == 0
    assert "+set: name *2 or" in capsys.readouterr().out


def test_a_job_that_becomes_a_set_is_compared_too(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = path.parent / "before.yaml"
    text = path.read_text().replace("${{ vars.vm }}", "id-db1").replace("${{ vars.shelve }}", "a")
    before.write_text("".join(line for line in text.splitlines(True) if not line.startswith("select")))
    assert exit_code("plan", path, "--offline", "--against", before) == 0
    assert "+select.from: shelves.a" in capsys.readouterr().out


def test_one_job_has_no_vms_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("version: 1\nname: one\nsteps: [{id: look, uses: look, with: {root: /a}}]\n")
    for command in ("plan", "render"):
        assert exit_code(command, path, "--only", "db1") == 2
        assert "this is one job: it has no `select`" in capsys.readouterr().err


def test_a_set_is_validated_as_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path.parent / "items").unlink()
    assert exit_code("validate", path, "--json") == 0
    said = capsys.readouterr()
    assert said.err == f"{path}: gold: a set: 1 step for each VM, no problems\n"
    assert json.loads(said.out)["jobs"] == [{"file": str(path), "job": "gold", "steps": 1, "set": True, "notes": []}]


def test_a_set_is_written_out_and_one_of_its_jobs_too(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("render", path) == 0
    text = capsys.readouterr().out
    again = path.with_name("again.yaml")
    again.write_text(text)
    assert exit_code("render", again) == 0
    assert capsys.readouterr().out == text
    assert exit_code("render", path, "--only", "db2", "--json") == 0
    job = json.loads(capsys.readouterr().out)["job"]
    assert (job["name"], job["vars"]) == ("gold/db2-id-db2", {"shelve": "a", "vm": "id-db2"})
    assert "select" not in job
    assert exit_code("render", path, "--only", "db*") == 2
    assert "--only names 2 VMs, and one job is written out" in capsys.readouterr().err
