"""The plan of a set, folded out of the plans of its children."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from runner.app.options import Options
from runner.app.set_plan import plan_set
from runner.engine.answers import SharedAnswers
from runner.engine.checkpoint import RunRecord, now
from runner.engine.job_state import JobState
from runner.engine.set_plan import SetPlan, in_short, sentence, shared
from runner.hosts.local import LocalHost
from runner.step.items import Item
from tests.runner.toy_sets import installed, set_of

Phase = Literal["working", "unwinding", "finished", "abandoned"]
PICK = '[{id: pick, uses: pick, with: {item: "${{ vars.vm }}", shelf: "${{ vars.shelve }}"}}]'


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


def planned(path: Path, *only: str, fresh: bool = False, settled: bool = False) -> SetPlan:
    return plan_set(path, Options(state=path.parent / "state", fresh=fresh), only, settled=settled)


def test_each_item_has_a_row_with_what_is_decided_and_why(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", "db2 green", "web1 red", steps=PICK)
    made = planned(path)
    assert [(row.name, row.what, row.why, row.disks) for row in made.rows] == [
        ("db2", "full", "it is green", 3),
        ("db1", "incremental", "on db1-0", 3),
        ("web1", "incremental", "on web1-0", 4),
    ]
    assert made.counts == {"incremental": 2, "full": 1}
    assert made.rows[1].job == "gold/db1-id-db1"
    assert [(one.kind, one.name, one.items, one.disks) for one in made.sums] == [
        ("store", "red", 2, 7),
        ("store", "green", 1, 3),
    ]
    assert made.problems == ()
    # What a saved plan holds is kept for one only.
    assert made.rows[0].decided == ()
    assert planned(path, settled=True).rows[0].decided[0].choice == "full"


def test_what_several_meet_is_told_once_with_their_number(tmp_path: Path) -> None:
    lines = [f"locked{number} red" for number in range(7)]
    made = planned(set_of(tmp_path, *lines, "db1 red", steps=PICK))
    assert made.problems == ("7 VMs (locked0, locked1, locked2, locked3, locked4, …): … is locked by somebody else",)
    assert made.rows[1].problems == ("locked0 is locked by somebody else",)


def test_what_an_entry_holds_is_read_once_for_all(tmp_path: Path) -> None:
    path = set_of(tmp_path, *(f"vm{number} red" for number in range(50)), steps=PICK)
    planned(path)
    assert (tmp_path / "items.ahead").read_text() == "x"
    assert (tmp_path / "items.asked").read_text() == "x"
    # Of what concerns all, the first one asks, and no other.
    assert (tmp_path / "items.tools").read_text() == "x"


def test_an_entry_that_cannot_be_read_is_one_problem_and_no_item_is_looked_at(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", "db2 red", steps=PICK)
    (tmp_path / "items.broken").touch()
    made = planned(path)
    assert made.problems == ("2 VMs (db1, db2): shelf a is broken",)
    assert made.counts == {"unknown": 2}


def test_what_was_selected_before_and_is_not_now_is_named(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", steps=PICK)
    (tmp_path / "items.kept").write_text("db1 gold/db1-id-db1\nold gold/old-id-old\nother silver/other-id-other\n")
    made = planned(path)
    assert [(one.id, one.name, one.points) for one in made.vanished] == [("id-old", "old", 1)]


def begun(path: Path, name: str, *, phase: Phase = "working", **values: str) -> str:
    """The id of a run of that child, of which only the record is there."""
    run = RunRecord(
        id="20261123T170000Z-3f9a0c1e",
        job=f"gold/{name}-id-{name}",
        set="gold",
        item=f"id-{name}",
        vars={"vm": f"id-{name}", "shelve": "a", **values},
        given=("vm", "shelve", *values),
        job_file=str(path),
        job_digest="0",
        git_commit=None,
        started=now(),
        phase=phase,
    )
    JobState(LocalHost("local"), str(path.parent / "state"), f"gold@id-{name}").open(run.id).create(run)
    return run.id


def test_an_unfinished_run_is_resumed_and_not_planned_anew(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", "db2 red", "db3 red", steps=PICK)
    run = begun(path, "db1")
    begun(path, "db2", phase="finished")
    made = planned(path)
    assert [(row.name, row.what, row.resumes) for row in made.rows] == [
        ("db1", "resumes", run),
        ("db2", "incremental", None),
        ("db3", "incremental", None),
    ]
    assert made.rows[0].why == f"run {run} is unfinished"
    assert planned(path, fresh=True).counts == {"incremental": 3}


def test_an_unfinished_run_with_other_variables_is_a_problem(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", steps=PICK)
    run = begun(path, "db1", thing="other")
    assert planned(path).problems == (
        f"db1: run {run} is unfinished and was started with other vars: use --fresh to discard it",
    )


def test_an_unfinished_run_of_an_item_that_vanished_is_named(tmp_path: Path) -> None:
    path = set_of(tmp_path, "db1 red", steps=PICK)
    run = begun(path, "old")
    assert [(one.id, one.name, one.unfinished) for one in planned(path).vanished] == [("id-old", "old", run)]


def test_once_nothing_answers_the_others_are_not_asked(tmp_path: Path) -> None:
    made = planned(set_of(tmp_path, *(f"gone{number} red" for number in range(9)), steps=PICK))
    assert made.problems[0].startswith("9 VMs (gone0, gone1, gone2, gone3, gone4, …): ")
    assert sum(row.why == "not looked at, after others could not be" for row in made.rows) == 6


def test_what_will_wait_for_what_is_told_as_the_queue_has_it(tmp_path: Path) -> None:
    lines = [f"vm{number} red" for number in range(5)]
    made = planned(set_of(tmp_path, *lines, steps=PICK, shelf=", at-once: 2", more="slots: {path: slots}\n"))
    assert sum(one.items for one in made.waiting) == 3
    assert "taken from a" in made.waiting[0].what


def test_space_is_summed_for_each_place(tmp_path: Path) -> None:
    made = planned(set_of(tmp_path, *(f"vm{number} red" for number in range(5)), steps=PICK))
    (space,) = made.space
    assert (space.least, space.most, space.of) == (15, 150, ("5 VMs",))


def test_settings_are_those_that_all_share(tmp_path: Path) -> None:
    made = planned(set_of(tmp_path, "db1 red", "db2 red", select='any: [{name: "db*"}]', steps=PICK))
    assert [(one.name, one.text) for one in made.about] == [
        ("set", "name db* of shelves.a; at least 1"),
        ("hands", "two"),
    ]


def test_fewer_than_at_least_is_a_problem_of_the_plan(tmp_path: Path) -> None:
    made = planned(set_of(tmp_path, "db1 red", select="at-least: 3", steps=PICK))
    assert "at least 3 are expected" in made.problems[0]
    assert len(made.rows) == 1


def test_sentences_that_differ_in_the_items_name_are_one() -> None:
    items = [Item(f"id{number}", f"vm{number}", f"/vm{number}") for number in range(3)]
    found = shared([(item, f"no snapshot of {item.name}") for item in items] + [(items[0], "it is off")])
    assert [sentence(one, "VM") for one in found] == ["3 VMs (vm0, vm1, vm2): no snapshot of …", "vm0: it is off"]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["full", "full"], "full", id="one kind"),
        pytest.param(["incremental", "full", "incremental"], "1 full, 2 incremental", id="two kinds"),
    ],
)
def test_choices_of_several_disks_are_counted(choices: list[str], words: str) -> None:
    assert in_short(choices) == words


def test_what_the_first_look_asked_and_what_a_second_asks_again_is_not_asked_a_third_time() -> None:
    answers = SharedAnswers()
    answers.known["repository"] = "read"
    first = answers.of_one({"vm": "vm-1"})
    assert (first.get("vm"), first.get("repository"), first.get("tool")) == ("vm-1", "read", None)
    first["tool"] = "7.2"
    first.clear()
    answers.after(first)
    second = answers.of_one({"vm": "vm-2"})
    assert (second.get("vm"), second.get("tool"), second.get("free")) == ("vm-2", "7.2", None)
    second["free"], second["of vm-2"] = 17, 1
    answers.after(second)
    third = answers.of_one({})
    assert third.get("free") is None
    third["free"] = 17
    answers.after(third)
    assert answers.of_one({}).get("free") == 17
    assert answers.of_one({}).get("of vm-2") is None
