"""A set that is open to run: in which order its items ask for their turn."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from runner.app import open_set
from runner.app.afterwards import Ended
from runner.app.open_set import OpenSet, Which
from runner.app.options import Options, read_job
from tests.runner.toy_sets import installed, set_of

PICK = '[{id: pick, uses: pick, with: {item: "${{ vars.vm }}", shelf: a}}]'
LINES = ("db1 red", "db2 red", "db3 red")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


def ages(path: Path, *only: str) -> dict[str, float]:
    """In hours."""
    options = Options(state=path.parent / "state")
    with OpenSet(read_job(path, options), options, threading.Event(), ()) as opened:
        members = opened.choose(Which(only=only))
        return {member.called: opened.request(member, ()).age / 3600 for member in members}


def test_the_age_is_that_of_what_is_kept_now_whatever_came_of_runs(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    (tmp_path / "items.ages").write_text("db1 2\ndb3 30\n")
    assert ages(path) == {"db1": pytest.approx(2, abs=0.1), "db2": float("inf"), "db3": pytest.approx(30, abs=0.1)}
    assert (tmp_path / "items.aged").read_text() == "x"


def test_nothing_is_read_where_ages_decide_nothing(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK, more="priority: {age: ignore}\n")
    assert len(set(ages(path).values())) == 1
    ages(set_of(tmp_path, *LINES, steps=PICK), "db1")
    assert not (tmp_path / "items.aged").exists()


def test_ages_that_cannot_be_read_keep_nobody_from_a_backup(tmp_path: Path) -> None:
    path = set_of(tmp_path, *LINES, steps=PICK)
    (tmp_path / "items.ages").write_text("unreadable\n")
    assert ages(path) == dict.fromkeys(("db1", "db2", "db3"), float("inf"))


def test_a_cause_that_children_share_is_what_a_notice_is_given_and_not_a_sentence_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Ended] = []
    monkeypatch.setattr(open_set, "afterwards", lambda workspace, ended: told.extend(ended))
    path = set_of(tmp_path, *LINES, steps=PICK)
    options = Options(state=tmp_path / "state")
    with OpenSet(read_job(path, options), options, threading.Event(), ()) as opened:
        opened.choose(Which())
        for name in ("db1", "db2", "db3"):
            shared = {"login vcenter prod": "the login was refused"} if name != "db3" else {}
            document: dict[str, Any] = {"outcome": "failed", "shared": shared}
            opened.ended(f"id-{name}", document, 1, f"{name}: discover: it failed")
        opened.finish()
    assert [(one.name, one.error) for one in told] == [
        ("db1", "login vcenter prod: the login was refused"),
        ("db2", "login vcenter prod: the login was refused"),
        ("db3", "db3: discover: it failed"),
        ("", ""),
    ]
