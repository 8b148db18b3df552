"""What differs between a saved plan and a fresh one, for sets; on real VMs in tests/e2e/test_saved_plan.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.app import saved_plan
from runner.app.options import Options, read_job
from runner.app.saved_plan import SavedPlan
from tests.runner.app.test_set_plan import PICK, begun
from tests.runner.cli.test_cli_job import exit_code
from tests.runner.toy_sets import installed, set_of

LINES = ("db1 red", "db2 green", "web1 red")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


def planned(path: Path, *only: str, **overrides: str) -> SavedPlan:
    options = Options(state=path.parent / "state", overrides=overrides)
    return saved_plan.decide(read_job(path, options), options, only)


def again(path: Path, *lines: str) -> SavedPlan:
    (path.parent / "items").write_text("".join(f"{line}\n" for line in lines))
    return planned(path)


@pytest.mark.parametrize(
    ("lines", "sentences"),
    [
        pytest.param(LINES, (), id="nothing"),
        pytest.param((*LINES, "web2 red"), ("VM web2 is selected now, and was not",), id="VM added"),
        pytest.param(LINES[:-1], ("VM web1 is no longer selected",), id="VM gone"),
        pytest.param(
            ("db1 green", *LINES[1:]),
            ("VM db1: all of it would be full now, and was incremental: it is green",),
            id="a full in the place of an incremental",
        ),
    ],
)
def test_differences_of_a_set_are_told_by_vm(
    tmp_path: Path, lines: tuple[str, ...], sentences: tuple[str, ...]
) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    before = planned(path)
    assert saved_plan.drift(before, again(path, *lines)) == sentences


def test_a_run_that_was_begun_or_ended_meanwhile_is_told(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    before = planned(path)
    run = begun(path, "db1")
    after = planned(path)
    (told,) = saved_plan.drift(before, after)
    assert told == f"VM db1: run {run} is resumed, and when it was planned: a new run begins"
    assert len(saved_plan.drift(after, before)) == 1
    assert saved_plan.drift(after, planned(path)) == ()


def test_a_file_that_says_the_same_in_other_words_has_changed_all_the_same(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    before = planned(path)
    path.write_text(path.read_text() + "# reviewed\n")
    assert saved_plan.drift(before, planned(path)) == ("gold.yaml has changed since the plan was made",)


def test_a_checkout_in_another_directory_is_the_same_job_and_another_variable_is_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        place.mkdir()
    more = "vars: {thing: a}\nhosts: {store: {ssh: s.example.com, identity: {file: key}}}\n"
    before = planned(set_of(here, *LINES, steps=PICK, more=more))
    path = set_of(there, *LINES, steps=PICK, more=more)
    path.write_text((here / path.name).read_text())
    after = planned(path)
    assert before.settings["hosts.store.identity"] != after.settings["hosts.store.identity"]
    assert saved_plan.drift(before, after) == ()
    assert saved_plan.drift(before, planned(path, thing="b")) == ("vars.thing is b now, and was a",)


def test_a_plan_of_another_job_is_told_as_that_alone(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    before = planned(path)
    path.write_text(path.read_text().replace("name: gold", "name: silver"))
    assert saved_plan.drift(before, planned(path)) == ("it is a plan of the set gold, and this is the set silver",)


def test_a_file_of_a_plan_has_no_reasons_and_no_sizes(tmp_path: Path) -> None:
    path, file = set_of(tmp_path, *LINES, steps=PICK), tmp_path / "plan.json"
    assert exit_code("plan", path, "--out", file, "--only", "db*", f"--state={tmp_path / 'state'}") == 0
    document = json.loads(file.read_text())
    assert document["only"] == ["db*"]
    assert [one["decided"][0] for one in document["jobs"]] == [
        {"subject": "all of it", "choice": "full", "facts": {}, "why": ""},
        {"subject": "all of it", "choice": "incremental", "facts": {"chain": "db1-0"}, "why": ""},
    ]
    assert saved_plan.drift(saved_plan.read(file), planned(path, "db*")) == ()


def test_a_run_of_a_set_is_held_to_it_and_takes_its_vms_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file, state = set_of(tmp_path, *LINES, steps=PICK), tmp_path / "plan.json", f"--state={tmp_path / 'state'}"
    assert exit_code("plan", path, "--out", file, state) == 0
    assert exit_code("run", path, "--plan", file, "--only", "db1", state) == 2
    assert "--plan says which VMs run" in capsys.readouterr().err
    (tmp_path / "items").write_text("".join(f"{line}\n" for line in LINES[1:]))
    assert exit_code("run", path, "--plan", file, state) == 2
    assert "  VM db1 is no longer selected" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()


def test_nothing_is_saved_of_a_plan_that_looks_at_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, file = set_of(tmp_path, *LINES, steps=PICK), tmp_path / "plan.json"
    assert exit_code("plan", path, "--offline", "--out", file) == 2
    assert not file.exists()
    assert "--offline decides nothing" in capsys.readouterr().err
