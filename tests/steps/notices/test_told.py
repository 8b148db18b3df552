"""Each trouble is told once, and its end once."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.app.afterwards import After, Ended
from runner.job.model import Job, StepSpec
from steps.coverage.protection import NewestDrill
from steps.notices import after_run
from steps.notices.told import Line, Standing, Told, news
from steps.notices.wording import LONGEST, SHOWN, notice
from steps.repository.verification_records import Verdict
from tests.steps.coverage.test_judgement import protection

NIGHT = datetime(2026, 11, 30, 3, tzinfo=UTC)


def nights(*each: list[Standing], complete: bool = True) -> list[list[tuple[str, str, bool]]]:
    """What is told in each of them: name, kind, and whether it ended."""
    before, found = Told(), []
    for number, now in enumerate(each):
        lines, before = news(before, now, NIGHT + timedelta(days=number), complete=complete)
        found.append([(line.name, line.kind, line.is_end) for line in lines])
    return found


def stands(failed: str | None = "", too_old: str | None = "", subject: str = "1") -> Standing:
    return Standing(subject, f"vm{subject}", failed, too_old)


def test_a_failure_is_told_in_the_first_night_alone_and_its_end_once() -> None:
    assert nights([stands("no room")], [stands("no room")], [stands("refused")], [stands()], [stands()]) == [
        [("vm1", "failed", False)],
        [],
        [],
        [("vm1", "failed", True)],
        [],
    ]


def test_a_failure_after_a_recovery_is_told_again() -> None:
    assert nights([stands("x")], [stands()], [stands("x")])[2] == [("vm1", "failed", False)]


def test_what_was_stopped_or_could_not_be_read_says_nothing() -> None:
    unknown = stands(None, None)
    assert nights([unknown], [stands("x", "50 h old")], [unknown], [stands("x", "50 h old")]) == [
        [],
        [("vm1", "failed", False), ("vm1", "too-old", False)],
        [],
        [],
    ]


def test_a_vm_that_runs_again_but_is_still_too_old_is_told_as_half_recovered() -> None:
    assert nights([stands("x", "old")], [stands("", "older")]) == [
        [("vm1", "failed", False), ("vm1", "too-old", False)],
        [("vm1", "failed", True)],
    ]


def test_a_vm_that_left_the_set_is_forgotten_but_not_while_the_set_itself_fails() -> None:
    assert nights([stands("x")], [], [stands("x")])[2] == [("vm1", "failed", False)]
    assert nights([stands("x")], [], [stands("x")], complete=False)[2] == []


def drilled(verdict: str) -> Standing:
    said = {"passed": "", "unknown": None}.get(verdict, f"p1 {verdict}")
    return Standing("1", "vm1", "", None, said, verdict == "failed")


NEWS, END, NOTHING = [("vm1", "drill", False)], [("vm1", "drill", True)], []


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (
            ("failed", "failed", "unknown", "failed", "passed", "passed"),
            (NEWS, NOTHING, NOTHING, NOTHING, END, NOTHING),
        ),
        (("undecided", "undecided", "passed", "undecided"), (NEWS, NOTHING, END, NEWS)),
        (("undecided", "failed", "failed", "passed"), (NEWS, NEWS, NOTHING, END)),
        (("failed", "undecided", "failed", "passed"), (NEWS, NOTHING, NOTHING, END)),
        (("passed", "unknown", "passed"), (NOTHING, NOTHING, NOTHING)),
    ],
    ids=["failed", "undecided", "it became worse", "it became undecided", "all is well"],
)
def test_a_drill_that_does_not_pass_is_told_once_and_again_when_it_became_worse(
    verdicts: tuple[str, ...], told: tuple[list[tuple[str, str, bool]], ...]
) -> None:
    assert nights(*([drilled(verdict)] for verdict in verdicts)) == list(told)


def test_what_was_told_of_a_drill_outlives_a_night_that_failed_of_something_else() -> None:
    broken = Standing("1", "vm1", "no room", None)
    assert nights([drilled("failed")], [broken], [drilled("failed")]) == [
        NEWS,
        [("vm1", "failed", False)],
        [("vm1", "failed", True)],
    ]


def braked(since: str | None) -> Standing:
    """`since`: the point that it came on with; empty: it is off; None: that is unknown."""
    why = f"{since} changed 3.0 GiB: nothing is deleted until somebody has looked at it" if since else since
    return Standing("1", "vm1", braked=why, braked_since=since or "")


def test_a_brake_is_told_once_and_again_where_it_came_on_anew() -> None:
    on, off = [("vm1", "brake", False)], [("vm1", "brake", True)]
    assert nights(*([braked(since)] for since in ["p1", "p1", None, "p1", "", "p6", "p9", "p9", ""])) == [
        on, NOTHING, NOTHING, NOTHING, off, on, on, NOTHING, off
    ]  # fmt: skip


def test_a_brake_whose_record_cannot_be_read_is_not_told_every_night() -> None:
    damaged = Standing("1", "vm1", braked="brake-released.json is damaged")
    assert nights([braked("p1")], *[[damaged]] * 3, [braked("p1")]) == [[("vm1", "brake", False)], *[NOTHING] * 4]


def test_a_notice_of_a_set_on_hold_has_its_cause_once() -> None:
    why = "201 of 400 VMs of gold changed far more than they do otherwise: nothing is deleted until somebody has looked"
    lines = [Line(f"vm{number}", why, "brake") for number in range(388)]
    told = notice("gold", lines, of=400, look="x")
    assert told.title == "sendense: gold: 388 on hold, as if being encrypted, of 400 VMs"
    assert not told.good
    assert told.body.splitlines()[1].startswith(f"- 388 VMs, one cause: {why} (vm0, vm1, ")


def test_a_notice_of_drills_says_of_whom_and_what() -> None:
    lines = [Line("db", "p1 does not boot: kernel panic", "drill"), Line("web", "", "drill", NIGHT)]
    told = notice("gold", lines, of=400, look="x")
    assert told.title == "sendense: gold: 1 did not pass a drill, 1 passed a drill again, of 400 VMs"
    assert "- db: p1 does not boot: kernel panic" in told.body.splitlines()
    assert "- web: passed a drill again; told 2026-11-30 03:00 UTC" in told.body.splitlines()
    alone = notice("nightly", [Line("nightly", "p1 does not boot: kernel panic", "drill")], of=None, look="x")
    assert alone.title == "sendense: nightly: did not pass a drill"


def test_a_set_of_388_with_one_cause_is_one_short_notice() -> None:
    lines = [Line(f"vm{number}", "repository main cannot be reached", "failed") for number in range(388)]
    told = notice("gold", [*lines, Line("db1", "no room", "failed")], of=400, look="sendense status gold.yaml")
    assert told.title == "sendense: gold: 389 failed, of 400 VMs"
    body = told.body.splitlines()
    assert body[1].startswith("- 388 VMs, one cause: repository main cannot be reached (vm0, vm1, ")
    assert body[2] == "- db1: no room"
    assert body[-1] == f"Look at it on {socket.gethostname()}: sendense status gold.yaml"
    assert len(body) == 4 and max(map(len, body)) <= LONGEST


def test_many_causes_are_cut_and_counted() -> None:
    lines = [Line(f"vm{number}", f"cause {number}", "failed") for number in range(SHOWN + 5)]
    assert "- and 5 other causes" in notice("gold", lines, of=30, look="x").body.splitlines()


def test_names_cannot_write_lines_of_their_own() -> None:
    told = notice("gold\nBcc: x", [Line("vm\n- all is well\x1b[2J", "no room", "failed")], of=1, look="x")
    assert "\n" not in told.title and "\x1b" not in told.body
    assert not any(line.startswith("- all is well") for line in told.body.splitlines())


def test_a_notice_of_recoveries_alone_is_good_news() -> None:
    end = Line("vm1", "", "failed", NIGHT)
    assert notice("gold", [end], of=1, look="x").good
    assert not notice("gold", [end, Line("vm2", "x", "failed")], of=2, look="x").good


@pytest.mark.parametrize(
    ("verdict", "unread", "said"),
    [
        ("passed", (), ""),
        ("passed", ("of p2, drilled.json is damaged",), None),
        ("failed", ("of p2, drilled.json is damaged",), "p1 does not boot: no boot loader"),
        ("undecided", (), "p1 is not known to boot: no boot loader"),
    ],
    ids=["passed", "passed, and another is unreadable", "failed, and another is unreadable", "undecided"],
)
def test_how_a_vm_stands_is_what_its_newest_drill_came_to(
    verdict: Verdict, unread: tuple[str, ...], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the repository has is given: reading it has tests of its own."""
    known = protection(1, 3, drill=NewestDrill("p1", NIGHT, verdict, "no boot loader"), drills_unread=unread)
    monkeypatch.setattr(after_run, "protections", lambda ctx, job, items: {"": known})
    steps = (StepSpec("drill", "drill-new-point", {}),)
    job = Job("nightly", {}, {"local": "local"}, {}, None, steps, "nightly.yaml", "0", {})
    after = After(job, [Ended("done")], None, (), "")  # type: ignore[arg-type]
    (standing,) = after_run.standings(after, NIGHT)
    assert (standing.drill, standing.drill_failed) == (said, verdict == "failed")
    (plain,) = after_run.standings(replace(after, job=replace(job, steps=())), NIGHT)
    assert plain.drill is None, "a job that does not drill asks nothing of its repository"
