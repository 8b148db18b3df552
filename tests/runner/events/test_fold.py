from __future__ import annotations

import json

import pytest

from runner.events.events import (
    Event,
    NodeFinished,
    NodeProgress,
    NodeUndone,
    RunFinished,
    RunStarted,
    ToolSeen,
    UndoFailed,
)
from runner.events.fold import Fold, fold
from runner.events.journal import Thinning
from runner.events.summary import RunSummary
from runner.report.report import render_markdown
from tests.run_events import DISKS, RUN, START, TOOLS, Story, done_run, failed_run, report_of, resumed_run


def state(summary: RunSummary, node: str) -> str:
    return next(each.state for each in summary.nodes if each.node == node)


def test_a_run_that_went_well() -> None:
    summary = fold(done_run(), report_of)
    assert (summary.outcome, summary.exit_code, summary.resume_command) == ("done", 0, None)
    assert {node.state for node in summary.nodes} == {"done"}
    assert summary.seconds == pytest.approx((summary.ended - summary.started).total_seconds())
    assert [warning.node for warning in summary.warnings] == ["snapshot"]
    assert not summary.held


def test_what_nodes_know_of_one_disk_becomes_one_line() -> None:
    (table,) = fold(done_run(), report_of).tables
    assert table.title == "Disks"
    assert table.columns == ("Size", "Data", "Zero", "Time", "Speed", "BLAKE3", "Verified")
    assert [key for key, _ in table.rows] == list(DISKS)
    assert all(set(cells) == set(table.columns) for _, cells in table.rows)


def test_data_zero_and_skipped_add_up_to_the_whole_disk() -> None:
    flows = fold(done_run(), report_of).flows
    assert len(flows) == 2 * len(DISKS)
    for flow in flows:
        assert flow.data + flow.zero + flow.skipped == flow.done == flow.total
        assert flow.state == "complete"


def test_tools_are_those_known_at_the_start_and_those_seen_on_the_way() -> None:
    story = Story()
    story.tell(ToolSeen, tool="nbdkit on node", version="1.32.5")
    assert fold(story.events, report_of).tools == {**TOOLS, "nbdkit on node": "1.32.5"}


def test_a_failed_disk_fails_the_run_and_the_others_are_told_apart() -> None:
    summary = fold(failed_run(), report_of)
    assert (summary.outcome, summary.exit_code) == ("failed", 1)
    assert state(summary, "transfer[2000]") == "done"
    assert state(summary, "transfer[2001]") == "failed"
    assert state(summary, "publish") == "skipped"
    assert [held.node for held in summary.held] == ["snapshot", "image[2000]"]
    assert summary.resume_command == "sendense run jobs/pgtest1.yaml"
    failed = next(node for node in summary.nodes if node.state == "failed")
    assert failed.retried == ("the source closed the connection",)


def test_a_retried_disk_counts_its_speed_from_its_last_try() -> None:
    flow = next(flow for flow in fold(failed_run(), report_of).flows if flow.node == "transfer[2001]")
    assert flow.state == "incomplete"
    assert flow.speed == pytest.approx(220 * 2**20, rel=0.1)


def test_an_engine_that_says_done_while_a_node_failed_is_not_believed() -> None:
    events = failed_run()
    events[-1] = RunFinished(at=events[-1].at, run=RUN, outcome="done", exit_code=0, seconds=1.0)
    summary = fold(events, report_of)
    assert (summary.outcome, summary.exit_code) == ("failed", 1)


def test_a_failed_unwind_is_an_outcome_of_its_own() -> None:
    *events, end = done_run()
    undo = UndoFailed(at=end.at, node="snapshot", step="snapshot", error="the vCenter is gone")
    summary = fold([*events, undo, end], report_of)
    assert (summary.outcome, summary.exit_code) == ("unwind-failed", 1)


def test_events_without_an_end_are_unfinished() -> None:
    summary = fold(failed_run()[:-20], report_of)
    assert (summary.outcome, summary.exit_code) == ("unfinished", None)
    assert summary.resume_command


def test_a_resumed_run_is_told_by_its_last_attempt_and_names_the_earlier() -> None:
    summary = fold(resumed_run(), report_of)
    assert summary.outcome == "done"
    assert [(attempt.outcome, attempt.error) for attempt in summary.earlier] == [("failed", "1 of 3 disks failed")]
    assert state(summary, "transfer[2000]") == "kept"
    assert [key for key, _ in summary.tables[0].rows] == list(DISKS)  # kept outputs count as well
    assert not summary.held


def test_what_an_earlier_attempt_warned_of_is_not_lost_and_not_told_twice() -> None:
    events = resumed_run()
    (warning,) = fold(events, report_of).warnings
    assert "crash-consistent" in warning.text
    again = warning.model_copy(update={"at": events[-1].at})
    assert fold([*events[:-1], again, events[-1]], report_of).warnings == (again,)


def test_what_was_taken_back_is_not_made() -> None:
    *events, end = done_run()
    undone = NodeUndone(at=end.at, node="publish", step="publish", lifetime="keep", why="asked to")
    summary = fold([*events, undone, end], report_of)
    assert "made" not in {statement.about for statement in summary.statements}
    assert not summary.commands
    assert "verified" in {statement.about for statement in summary.statements}


def test_a_story_outside_the_last_graph_is_not_lost() -> None:
    *events, end = done_run()
    stranger = NodeFinished(at=end.at, node="audit", step="audit", seconds=1.0, output={})
    assert state(fold([*events, stranger, end], report_of), "audit") == "done"


def test_nodes_stand_in_the_order_of_the_graph() -> None:
    nodes = [node.node for node in fold(done_run(), report_of).nodes]
    assert nodes[:4] == ["discover", "reserve", "snapshot", "image[2000]"]
    assert nodes[-2:] == ["publish", "cleanup"]


def test_the_curve_holds_every_byte_that_moved() -> None:
    summary = fold(done_run(), report_of)
    for phase, speeds in summary.throughput.phases.items():
        moved = sum(speeds) * summary.throughput.bin_seconds
        data = sum(flow.moved for flow in summary.flows if flow.phase == phase)
        assert moved == pytest.approx(data, rel=0.02), phase


def test_the_summary_of_the_thinned_events_is_the_same() -> None:
    def thinned(events: list[Event]) -> list[Event]:
        thin = Thinning()
        return [kept for event in events for kept in thin(event)]

    assert fold(thinned(done_run()), report_of) == fold(done_run(), report_of)


def test_a_disk_of_unknown_size_is_said_to_be_unknown() -> None:
    story = Story()
    story.tell(NodeProgress, node="export", label="dump", phase="read", done=5, total=None)
    (flow,) = fold(story.end("done", 0), report_of).flows
    assert (flow.state, flow.speed) == ("unknown", None)


def test_a_speed_is_of_what_moved() -> None:
    story = Story()
    for done, skipped in ((0, 0), (30, 20)):
        progress = {"node": "copy", "label": "disk", "phase": "copy", "total": 30}
        story.tell(NodeProgress, after=2.0, done=done, data=done - skipped, skipped=skipped, **progress)
    (flow,) = fold(story.events, report_of).flows
    assert flow.speed == 5.0


def test_the_summary_is_json() -> None:
    summary = fold(resumed_run(), report_of)
    assert RunSummary.from_json_value(json.loads(json.dumps(summary.to_json_value()))) == summary


def test_no_start_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no start"):
        fold([], report_of)
    alone = RunStarted(at=START, run=RUN, job="j", resumed=False, job_file="j.yaml", job_digest="d")
    assert fold([alone], report_of).outcome == "unfinished"


def test_live_and_in_the_end_a_copy_has_one_speed() -> None:
    """Of 160 MiB 157 are its parent's, known before the first event comes; 3 MiB are read in half a second."""
    story, total = Story(), 160 * 2**20
    moved = {"node": "copy", "label": "disk", "phase": "copy", "total": total}
    for seconds, read in ((0.5, 2), (0.75, 3)):
        done = total - (3 - read) * 2**20
        story.tell(
            NodeProgress, after=0.5, done=done, skipped=done - read * 2**20, read=read * 2**20, seconds=seconds, **moved
        )
    folding = Fold(report_of)
    for event in story.events:
        folding.add(event)
    (flow,) = folding.flows.values()
    assert flow.speed(story.events[-1].at) == flow.summary().speed == 4 * 2**20
    assert (flow.summary().moved, flow.summary().seconds) == (3 * 2**20, 0.75)


def test_an_attempt_that_goes_on_counts_from_where_it_began() -> None:
    story = Story()
    moved = {"node": "copy", "label": "disk", "phase": "copy", "total": 100}
    for done, seconds, read in ((60, 60.0, 60), (62, 1.0, 2)):
        story.tell(NodeProgress, after=100.0, done=done, read=read, seconds=seconds, **moved)
    (flow,) = fold(story.events, report_of).flows
    assert (flow.moved, flow.seconds, flow.speed) == (2, 1.0, 2.0)


def test_points_are_no_bytes() -> None:
    story = Story()
    story.tell(NodeProgress, node="prune", label="pgtest1", phase="delete", done=1, total=3, noun="point")
    assert fold(story.events, report_of).flows[0].speed is None
    assert "Delete: 1 point of 3 points done" in render_markdown(fold(story.events, report_of))
