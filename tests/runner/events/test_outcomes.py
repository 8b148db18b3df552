"""The table of ends, walked through everything that tells of an end."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from pydantic import JsonValue

from runner.app.options import Options, read_job
from runner.app.outcome import verdict_of
from runner.app.runs import Result
from runner.base.errors import DifferenceError, JobFileError, LockedError, SendenseError
from runner.cli import main
from runner.cli.job_results import Ended, print_ended
from runner.console.listener import Console
from runner.engine.checkpoint import RunRecord
from runner.engine.failures import Outcome
from runner.engine.job_state import JobState
from runner.events.events import Event, NodeFailed, RunFinished, RunStarted, UndoFailed
from runner.events.fold import fold
from runner.events.journal import Journal
from runner.events.outcomes import ENDINGS, MIXED, NODES, JobOutcome, NodeState, RunOutcome, of_several
from runner.events.step_report import Alarm, StepReport
from runner.events.summary import RunSummary
from runner.hosts.local import LocalHost
from runner.report.junit import render_junit
from runner.report.labels import verdict
from runner.report.report import render_html, render_markdown
from tests.run_events import RUN, Story, done_run, failed_run
from tests.run_events import report_of as report_of_steps

POINTS = ("20261120T170003Z-1aaa", "20261121T170003Z-2bbb", "20261122T170003Z-3ccc", "20261123T170003Z-4ddd")
ALARM = f"disk 2000: changed block tracking forgot a write; no longer trusted are {', '.join(POINTS)}"
SUSPECT = Alarm(text=ALARM, exit_code=5, brief="no longer trusted", subjects=POINTS, noun="point")
RUN_OUTCOMES: tuple[RunOutcome, ...] = get_args(RunOutcome)


def report_of(step: str, output: Mapping[str, JsonValue]) -> StepReport:
    return StepReport(alarm=SUSPECT) if step == "choose-parent" else report_of_steps(step, output)


def alarmed() -> list[Event]:
    story = Story()
    story.head()
    story.quick("parent[2000]", 0.1, {"kind": "full"})
    finished = verdict_of(RUN, Outcome(work_done=True), 1.0, [SUSPECT])
    return [*story.events, finished.model_copy(update={"at": story.end("done", 0)[-1].at})]


def events_of(outcome: RunOutcome) -> list[Event]:
    *events, end = done_run()
    match outcome:
        case "done":
            return [*events, end]
        case "alarm":
            return alarmed()
        case "failed":
            return failed_run()
        case "unwind-failed":
            return [*events, UndoFailed(at=end.at, node="snapshot", step="snapshot", error="the vCenter is gone"), end]
        case "interrupted":
            stop = NodeFailed(at=end.at, node="cleanup", step="cleanup", seconds=1, error="stopped", exit_code=130)
            return [*events, stop, RunFinished(at=end.at, run=RUN, outcome=outcome, exit_code=130, seconds=1)]
        case "unfinished":
            return events


def summary_of(outcome: RunOutcome) -> RunSummary:
    return fold(events_of(outcome), report_of)


def troubles(text: str) -> int:
    (suite,) = ElementTree.fromstring(text)
    found = sum(case.find(what) is not None for case in suite for what in ("failure", "error"))
    assert found == int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return found


each_outcome = pytest.mark.parametrize("outcome", RUN_OUTCOMES)


def test_the_table_has_every_end() -> None:
    assert set(ENDINGS) == {*RUN_OUTCOMES, *get_args(get_args(JobOutcome)[1])}
    assert set(NODES) == set(get_args(NodeState))
    for ending in ENDINGS.values():
        assert (ending.tone == "done") == (ending.junit is None) == (ending.exit_codes == (0,)), ending


@each_outcome
def test_the_exit_code_is_one_of_the_table(outcome: RunOutcome) -> None:
    code = summary_of(outcome).exit_code
    assert code in ENDINGS[outcome].exit_codes or (code is None and not ENDINGS[outcome].exit_codes)


@each_outcome
def test_junit_is_green_only_where_the_table_says_so(outcome: RunOutcome) -> None:
    assert (troubles(render_junit(summary_of(outcome))) == 0) == (ENDINGS[outcome].junit is None)


@each_outcome
def test_markdown_says_it_in_its_title(outcome: RunOutcome) -> None:
    assert render_markdown(summary_of(outcome)).startswith(f"# pgtest1-nightly: {ENDINGS[outcome].word}\n")


@each_outcome
def test_the_page_has_its_word_and_its_colour(outcome: RunOutcome) -> None:
    html = render_html(summary_of(outcome))
    assert f"<title>pgtest1-nightly: {ENDINGS[outcome].word} ·" in html
    assert f'<header class="{ENDINGS[outcome].tone}">' in html


@each_outcome
def test_the_terminal_has_its_symbol(outcome: RunOutcome) -> None:
    stream = io.StringIO()
    with Console(report_of, stream=stream, level="quiet") as console:
        for event in events_of(outcome):
            console(event)
    last = stream.getvalue().splitlines()[-1]
    word = ENDINGS[outcome].word.capitalize()
    assert last.startswith(f"{ENDINGS[outcome].mark} {word}: pgtest1") == (outcome != "unfinished"), last


@each_outcome
def test_a_table_of_several_jobs_and_json_have_its_word(outcome: RunOutcome, tmp_path: Path) -> None:
    summary = summary_of(outcome)
    job = read_job(_job(tmp_path), Options())
    result = Result(RUN, job, summary.exit_code or 0, tmp_path)
    ended = Ended.of(tmp_path / "job.yaml", result, summary, ())
    assert ended.document()["outcome"] == outcome
    stream = io.StringIO()
    print_ended([ended], stream)
    assert ENDINGS[outcome].word in stream.getvalue()


@each_outcome
def test_events_keep_it(outcome: RunOutcome, tmp_path: Path) -> None:
    finished = [event for event in events_of(outcome) if isinstance(event, RunFinished)]
    assert [RunFinished.from_json_value(event.to_json_value()) for event in finished] == finished
    assert all(event.outcome in (outcome, "done") for event in finished)


@each_outcome
def test_status_has_its_word(outcome: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = _job(tmp_path)
    _remember(outcome, tmp_path / "state", str(job))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["status", str(job), "--state", str(tmp_path / "state")])
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith(RUN))
    word = "resumable" if outcome == "unfinished" else ENDINGS[outcome].word
    assert word in row, said
    assert all(point in said for point in POINTS) == (outcome == "alarm")


def _job(directory: Path) -> Path:
    path = directory / "job.yaml"
    path.write_text("version: 1\nname: pgtest1-nightly\nsteps: [{id: clean, uses: cleanup}]\n")
    return path


def _remember(outcome: RunOutcome, root: Path, job: str) -> None:
    summary = summary_of(outcome)
    state = JobState(LocalHost("local"), str(root), "pgtest1-nightly").open(RUN)
    done = outcome in ("done", "alarm")
    record = RunRecord(
        id=RUN,
        job="pgtest1-nightly",
        vars={},
        job_file=job,
        job_digest="0",
        git_commit=None,
        started=summary.started,
        phase="finished" if done else "unwinding" if outcome == "unwind-failed" else "working",
        ended=summary.ended if done else None,
        alarms=tuple(node.alarm for node in summary.nodes if node.alarm) if done else (),
    )
    state.create(record)
    with Journal(Path(state.directory) / "events.jsonl") as journal:
        for event in events_of(outcome):
            journal(event)


# An alarm: the point is published, and others are no longer trusted


def test_an_alarm_is_a_failure_at_the_node_that_found_it() -> None:
    (suite,) = ElementTree.fromstring(render_junit(summary_of("alarm")))
    failed = {case.attrib["name"]: failure.attrib["message"] for case in suite for failure in case.findall("failure")}
    assert failed == {"parent[2000]": ALARM}


@pytest.mark.parametrize("render", [render_html, render_markdown, render_junit])
def test_every_point_of_an_alarm_is_named(render: Callable[[RunSummary], str]) -> None:
    text = render(summary_of("alarm"))
    assert all(point in text for point in POINTS)


def test_an_alarm_is_not_lost_for_a_failure() -> None:
    lost = Outcome(failures=[("publish", SendenseError("the hub is gone"))])
    finished = verdict_of(RUN, lost, 1.0, [SUSPECT])
    assert (finished.outcome, finished.exit_code) == ("failed", 5)
    assert finished.error == f"publish: the hub is gone; {ALARM}"


def test_events_of_before_alarms_had_a_name_are_no_green_run() -> None:
    *events, end = done_run()
    old = RunFinished(at=end.at, run=RUN, outcome="done", exit_code=5, seconds=1.0, error=ALARM)
    summary = fold([*events, old], report_of)
    assert (summary.outcome, summary.exit_code) == ("alarm", 5)
    assert troubles(render_junit(summary)) == 1


# What is no node's fault


def test_junit_tells_what_failed_outside_of_every_node() -> None:
    *events, end = done_run()
    error = "the run's record: no space left on hub"
    finished = RunFinished(at=end.at, run=RUN, outcome="unwind-failed", exit_code=1, seconds=1.0, error=error)
    (suite,) = ElementTree.fromstring(render_junit(fold([*events, finished], report_of)))
    case = next(case for case in suite if case.attrib["name"] == "the run")
    assert case[0].attrib["message"] == error


def test_a_run_that_was_killed_before_its_first_node_is_not_green() -> None:
    start = next(event for event in done_run() if isinstance(event, RunStarted))
    assert troubles(render_junit(fold([start], report_of))) == 1


# Several jobs


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        pytest.param([0, 0], 0, id="all done"),
        pytest.param([0, 1], MIXED, id="some done"),
        pytest.param([0, 5], 5, id="a difference is not hidden by one that is done"),
        pytest.param([0, 1, 5], 5, id="a difference wins over mixed"),
        pytest.param([1, 5, 3], 5, id="a difference wins over a failure"),
        pytest.param([2, 3], 3, id="the worst of what failed"),
        pytest.param([1, 1], 1, id="all failed"),
        pytest.param([0, 130], 130, id="stopped"),
    ],
)
def test_the_worst_of_several_jobs_is_their_code(codes: list[int], code: int) -> None:
    assert of_several(codes) == code


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(LockedError("the job", "run 1"), "locked", id="locked"),
        pytest.param(JobFileError(()), "bad-job-file", id="job file"),
        pytest.param(DifferenceError("x"), "not-begun", id="other"),
    ],
)
def test_a_job_without_a_run_has_its_word(error: SendenseError, outcome: JobOutcome) -> None:
    ended = Ended(Path("a.yaml")).but(error)
    assert (ended.outcome, ended.exit_code) == (outcome, error.exit_code)
    assert error.exit_code in ENDINGS[outcome].exit_codes
    stream = io.StringIO()
    print_ended([ended, Ended(Path("b.yaml"))], stream)
    assert ENDINGS[outcome].word in stream.getvalue()
    assert ENDINGS["not-reached"].word in stream.getvalue()


def test_the_last_line_of_an_alarm_counts_the_points() -> None:
    assert verdict(summary_of("alarm")).line.endswith(", 4 points no longer trusted")
