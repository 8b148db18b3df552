"""What the status of a set says of one item."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from runner.app.statuses import OneStatus, SetStatus
from runner.cli.set_status import document_of
from runner.engine.checkpoint import RunRecord
from runner.sets.set_record import Chosen

YESTERDAY = RunRecord(
    id="20261129T013000Z-0000aaaa",
    job="gold/web-1-id",
    set="gold",
    item="id",
    vars={},
    job_file="gold.yaml",
    job_digest="",
    git_commit=None,
    started=datetime(2026, 11, 29, 1, 30, tzinfo=UTC),
    phase="finished",
)


@pytest.mark.parametrize(
    ("outcome", "run", "state"),
    [
        ("not-begun", "", "not started"),
        ("locked", "", "locked"),
        ("done", YESTERDAY.id, "done"),
        ("", "", "done"),
        ("unfinished", "", "done"),
    ],
)
def test_a_night_that_made_no_run_is_not_told_as_the_one_before(outcome: str, run: str, state: str) -> None:
    last = Chosen(id="id", name="web-1", path="/web-1", outcome=outcome, run=run, error="login refused")
    one = OneStatus("web-1", YESTERDAY, item="id", last=last)
    told = json.loads(json.dumps(document_of(SetStatus("gold", None, None, (one,)))))["children"][0]
    assert told["state"] == state and told["why"] == ("" if state == "done" else "login refused")
