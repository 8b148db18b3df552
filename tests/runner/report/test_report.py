from __future__ import annotations

import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runner.base.errors import StateError
from runner.base.units import GiB
from runner.events.events import Event, Held, NodeFailed, RunFinished, UndoFailed, Warned
from runner.events.fold import fold
from runner.events.journal import Journal, read_events
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.events.summary import NodeSummary, RunSummary
from runner.report.graph_drawing import BOX_HEIGHT, BOX_WIDTH, MAX_LANES, draw_graph
from runner.report.junit import render_junit
from runner.report.labels import verdict
from runner.report.report import render_html, render_markdown, write_reports
from runner.report.throughput_drawing import draw_throughput
from tests.run_events import DIGEST, DISKS, FAILURE, RUN, Story, done_run, failed_run, report_of, resumed_run

EVIL = '<script>alert("1")</script> | `x` \x1b[31m *b* [a](b) & co\n# h'
VOID = {"meta", "br", "rect", "path", "line", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """`text` by heading; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.sections: dict[str, str] = {"": ""}
        self._heading: str | None = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self._heading = None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "title"):
            return
        if self._heading is None:
            self._heading = data
            self.sections[data] = ""
        else:
            self.sections[self._heading] += data


def page(events: list[Event]) -> Page:
    return Page(render_html(fold(events, report_of)))


def with_evil_everywhere() -> list[Event]:
    story = Story({EVIL: GiB})
    story.head()
    story.progress("transfer", EVIL, EVIL, GiB)
    story.tell(Warned, node=EVIL, text=EVIL)
    story.tell(Held, node=EVIL, what=EVIL, command=EVIL)
    story.tell(NodeFailed, node=f"transfer[{EVIL}]", step="transfer", seconds=1.0, error=EVIL, exit_code=1)
    story.tell(UndoFailed, node=EVIL, step="x", error=EVIL)
    return story.end("failed", 1, EVIL)


def evil_report(step: str, output: object) -> StepReport:
    row = Row(table=EVIL, key=EVIL, cells={EVIL: Cell(value=EVIL), "BLAKE3": Cell(value=EVIL, unit="digest")})
    return StepReport(rows=(row,), statements=(Statement(about="noted", text=EVIL),))


# The page


def test_the_page_says_what_an_auditor_asks() -> None:
    sections = page(done_run()).sections
    assert (
        "Done: pgtest1, full, 4.0 GiB copied, every block verified, 4 min 22 s, point pgtest1/20261123T170003Z-3f9a"
        in sections[""]
    )
    assert RUN in sections[""]
    assert DIGEST in sections[""]
    assert "Restore point 20261123T170003Z-3f9a" in sections[""]
    for fact in ("SHA-256 of jobs/pgtest1.yaml", "SHA-256 of template backup", DIGEST[::-1], "retention={}", "c0ffee"):
        assert fact in sections[""]
    assert "backup@ci-3" in sections[""]
    for key in DISKS:
        assert f"all {-(-DISKS[key] // 2**20)} blocks" in sections["What was verified, and how"]
        assert f"disk-{key}.qcow2" in sections["How to restore"]
    assert "every block" in sections["Disks"]
    assert re.search(r"\b[0-9a-f]{64}\b", sections["Disks"])
    assert "could not be quiesced" in sections["What to know"]
    assert "Disk 2002 (independent" in sections["What to know"]
    assert "nbdkit (node)" in sections["Tools"]
    assert "1.32.5" in sections["Tools"]
    assert not {"What went wrong", "What is retained", "How to resume"} & set(sections)


def test_a_failed_run_says_first_what_failed_what_is_held_and_how_to_go_on() -> None:
    sections = page(failed_run()).sections
    assert list(sections)[1:4] == ["What went wrong", "What is retained", "How to resume"]
    assert FAILURE in " ".join(sections["What went wrong"].split())
    assert f"sendense sweep jobs/pgtest1.yaml --abandon {RUN}" in sections["What is retained"]
    assert "sendense run jobs/pgtest1.yaml" in sections["How to resume"]
    assert "Restore point" not in sections[""]
    assert "7.1 GiB of 12.0 GiB, 59 %" in sections["What moved in this attempt"]


def test_a_sentence_of_the_run_that_only_repeats_its_nodes_is_said_once() -> None:
    *events, end = failed_run()
    repeated = RunFinished(
        at=end.at, run=RUN, outcome="failed", exit_code=1, seconds=1, error=f"transfer[2001]: {FAILURE}"
    )
    assert page([*events, repeated]).sections["What went wrong"].count("503") == 1


def test_a_resumed_run_names_its_earlier_attempts_and_what_was_not_needed() -> None:
    sections = page(resumed_run()).sections
    assert "Warning from snapshot, 2026-11-23 17:00:03, in an earlier attempt: the guest" in sections["What to know"]
    assert "1 of 3 disks failed" in sections["Earlier attempts at this run"]
    assert "not needed" in sections["Every node"]
    assert "waiting" not in sections["Every node"]


def test_nothing_verified_is_said() -> None:
    assert "No step of this run compared anything." in page(failed_run()).sections["What was verified, and how"]


def test_the_page_needs_no_network_and_no_script() -> None:
    for events in (done_run(), failed_run(), with_evil_everywhere()):
        parsed = page(events)
        assert not {"script", "link", "img", "iframe", "object", "embed"} & set(parsed.tags)
        assert not {"src", "href", "action", "onload", "onerror"} & {name for name, _ in parsed.attributes}
        html = render_html(fold(events, report_of))
        assert "url(" not in html
        assert "@import" not in html


def test_the_drawings_are_well_formed() -> None:
    html = render_html(fold(done_run(), report_of))
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 2 + 23  # graph, throughput, and a bar a node
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_names_from_elsewhere_are_text_on_the_page() -> None:
    html = render_html(fold(with_evil_everywhere(), evil_report))
    parsed = Page(html)
    assert "script" not in parsed.tags
    assert "\x1b" not in html
    assert parsed.sections["What went wrong"].count('<script>alert("1")</script>') >= 2


# Markdown


def test_markdown_says_the_same() -> None:
    text = render_markdown(fold(failed_run(), report_of))
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:4] == ["What went wrong", "What is retained", "How to resume", "Disks"]
    assert f"`sendense sweep jobs/pgtest1.yaml --abandon {RUN}`" in text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(render_markdown(fold(done_run(), report_of)), id="done"),
        pytest.param(render_markdown(fold(resumed_run(), report_of)), id="resumed"),
        pytest.param(render_markdown(fold(with_evil_everywhere(), evil_report)), id="hostile names"),
    ],
)
def test_every_row_of_a_markdown_table_has_the_columns_of_its_head(text: str) -> None:
    blocks = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(blocks) >= 3
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]
        assert re.fullmatch(r"\|(-+:?\|)+", block[1])


def test_headings_of_markdown_stand_alone() -> None:
    lines = render_markdown(fold(done_run(), report_of)).split("\n")
    for number, line in enumerate(lines):
        if line.startswith("#"):
            assert lines[number + 1] == ""
            assert number == 0 or lines[number - 1] == ""


def test_names_from_elsewhere_are_text_in_markdown() -> None:
    text = render_markdown(fold(with_evil_everywhere(), evil_report))
    assert "\x1b" not in text
    without_code = re.sub(r"`+.*?`+", "", text)
    assert "<script>" not in without_code
    assert "\n# h" not in text[2:]


# JUnit


def test_junit_counts_what_it_lists() -> None:
    (suite,) = ElementTree.fromstring(render_junit(fold(failed_run(), report_of)))
    cases = suite.findall("testcase")
    assert suite.attrib["tests"] == str(len(cases)) == "23"
    for what, number in (("failure", "failures"), ("skipped", "skipped"), ("error", "errors")):
        assert suite.attrib[number] == str(sum(case.find(what) is not None for case in cases)), what
    failed = next(case for case in cases if case.find("failure") is not None)
    assert failed.attrib["name"] == "transfer[2001]"
    assert failed[0].attrib["message"] == FAILURE


def test_junit_tells_a_failed_undo_as_an_error() -> None:
    *events, end = done_run()
    undo = UndoFailed(at=end.at, node="snapshot", step="snapshot", error="the vCenter is gone")
    (suite,) = ElementTree.fromstring(render_junit(fold([*events, undo, end], report_of)))
    assert suite.attrib["errors"] == "1"
    assert suite.attrib["failures"] == "0"


def test_junit_survives_names_from_elsewhere() -> None:
    (suite,) = ElementTree.fromstring(render_junit(fold(with_evil_everywhere(), evil_report)))
    assert suite.attrib["failures"] == "1"


# Files


def test_reports_are_made_of_the_journal_alone(tmp_path: Path) -> None:
    with Journal(tmp_path / "events.jsonl") as journal:
        for event in done_run():
            journal(event)
    paths = write_reports(fold(read_events(tmp_path / "events.jsonl"), report_of), tmp_path / "out" / "run")
    assert [path.name for path in paths] == ["report.html", "report.md", "junit.xml"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert paths[0].read_text() == render_html(fold(done_run(), report_of))


def test_a_report_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot write the report to .*: Not a directory"):
        write_reports(fold(done_run(), report_of), tmp_path / "file" / "out")


def test_every_outcome_has_a_sentence() -> None:
    *events, end = done_run()
    undo = UndoFailed(at=end.at, node="snapshot", step="snapshot", error="the vCenter is gone")
    stopped = NodeFailed(at=end.at, node="cleanup", step="cleanup", seconds=1, error="interrupted", exit_code=130)
    interrupted = RunFinished(at=end.at, run=RUN, outcome="interrupted", exit_code=130, seconds=1)
    runs = {
        "done": [*events, end],
        "cleanup failed": [*events, undo, end],
        "failed": failed_run(),
        "interrupted": [*events, stopped, interrupted],
        "unfinished": events,
    }
    for word, run in runs.items():
        summary = fold(run, report_of)
        assert verdict(summary).word == word
        render_html(summary)
        render_markdown(summary)
    assert "1 of 23 nodes did not run" in verdict(fold(runs["interrupted"], report_of)).line
    assert "What went wrong" not in page(runs["interrupted"]).sections


# Drawings


def graph_of(events: list[Event]) -> tuple[RunSummary, object]:
    summary = fold(events, report_of)
    return summary, draw_graph(summary.nodes, summary.edges)


@pytest.mark.parametrize(
    "disks",
    [
        pytest.param(["2000"], id="1 disk"),
        pytest.param(["2000", "2001"], id="2 disks"),
        pytest.param([str(2000 + number) for number in range(MAX_LANES)], id="as many lanes as fit"),
        pytest.param([str(2000 + number) for number in range(64)], id="64 disks"),
    ],
)
def test_no_two_boxes_overlap_and_all_are_inside(disks: list[str]) -> None:
    summary = fold(done_run(dict.fromkeys(disks, GiB)), report_of)
    graph = draw_graph(summary.nodes, summary.edges)
    assert graph is not None
    assert len(graph.lanes) == (len(disks) if len(disks) <= MAX_LANES else 1)
    for number, box in enumerate(graph.boxes):
        assert 0 <= box.x <= graph.width - BOX_WIDTH
        assert 0 <= box.y <= graph.height - BOX_HEIGHT
        for other in graph.boxes[:number]:
            assert abs(box.x - other.x) >= BOX_WIDTH or abs(box.y - other.y) >= BOX_HEIGHT, (box, other)


def test_a_disk_in_trouble_keeps_its_own_lane_among_many() -> None:
    story = Story({str(2000 + number): GiB for number in range(30)})
    story.head()
    story.tell(NodeFailed, node="transfer[2017]", step="transfer", seconds=1.0, error="it broke", exit_code=1)
    summary = fold(story.end("failed", 1), report_of)
    graph = draw_graph(summary.nodes, summary.edges)
    assert graph is not None
    assert [lane.label for lane in graph.lanes] == ["2017", "29 others"]
    assert [box.name for box in graph.boxes if box.state == "failed"] == ["transfer"]


def test_edges_run_forward_and_what_a_longer_way_says_is_not_drawn() -> None:
    nodes = [NodeSummary(node=name, state="done") for name in ("a", "b", "c", "d")]
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "c")]
    graph = draw_graph(nodes, edges)
    assert graph is not None
    assert len(graph.wires) == 4
    x = {box.name: box.x for box in graph.boxes}
    assert x["a"] < x["b"] == x["d"] < x["c"]


def test_too_much_to_look_at_is_not_drawn() -> None:
    assert draw_graph([], []) is None
    assert draw_graph([NodeSummary(node=f"step{number}") for number in range(2000)], []) is None


def test_nothing_moved_is_no_curve() -> None:
    assert draw_throughput(fold(Story().end("done", 0), report_of).throughput) is None


def test_the_axes_of_a_curve_are_round_and_few() -> None:
    chart = draw_throughput(fold(done_run(), report_of).throughput)
    assert chart is not None
    assert [tick.label for tick in chart.speeds] == ["500.0 MiB/s", "1000.0 MiB/s"]
    assert [tick.label for tick in chart.times][:3] == ["0", "1 min 00 s", "2 min 00 s"]
    assert [curve.phase for curve in chart.curves] == ["copy", "compare"]
