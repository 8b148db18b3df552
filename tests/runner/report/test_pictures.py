"""A picture that a step took, in all that tells of the run."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import JsonValue

from runner.app.runs import Result
from runner.base.units import MiB
from runner.cli.job_results import Ended
from runner.console.final_summary import print_ending
from runner.events.events import Event, NodeProgress, NodeUndone
from runner.events.fold import fold
from runner.events.journal import Journal, read_events
from runner.events.result import Result as StepResult
from runner.events.step_report import Alarm, Cell, Picture, Row, Statement, StepReport
from runner.events.summary import RunSummary
from runner.report.pictures import LARGEST
from runner.report.report import write_reports
from tests.pictures import png
from tests.run_events import Story, done_run
from tests.runner.report.test_report import EVIL, Page
from tests.runner.toys import job_of

CAPTION = "The console of pgtest1 after 41 s: it passed"


def report_of(step: str, output: Mapping[str, JsonValue]) -> StepReport:
    if "picture" not in output:
        return StepReport()
    return StepReport(
        rows=(Row(table="Drills", key="pgtest1", cells={"Verdict": Cell(value="passed")}),),
        statements=(Statement(about="made", text="It was made."), Statement(about="verified", text="It was seen.")),
        pictures=(Picture(caption=str(output.get("caption", CAPTION)), file=str(output["picture"])),),
        alarm=Alarm(text="alarm", exit_code=5, brief="alarm") if "alarm" in output else None,
    )


def drilled(picture: Path | str, **more: JsonValue) -> list[Event]:
    story = Story({})
    story.quick("drill", 41.0, {"picture": str(picture), **more})
    return story.end("done", 0)


def alarmed(picture: Path) -> list[Event]:
    """A drill that found that the point does not boot."""
    story = Story({})
    story.quick("drill", 3.0, {"picture": str(picture), "alarm": True})
    return story.end("alarm", 5)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "drill.png"
    path.write_bytes(png())
    return path


def html(summary: RunSummary, directory: Path) -> Page:
    write_reports(summary, directory)
    return Page((directory / "report.html").read_text())


def image(page: Page) -> dict[str, str | None]:
    """The attributes of its one picture."""
    assert page.tags.count("img") == 1
    return {name: value for name, value in page.attributes if name in ("src", "alt")}


def test_the_page_has_the_picture_itself_with_its_caption(picture: Path, tmp_path: Path):
    page = html(fold(drilled(picture), report_of), tmp_path / "report")
    shown = image(page)
    assert shown["alt"] == CAPTION
    assert CAPTION in page.sections["What was seen"]
    kind, _, content = str(shown["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == png()


def test_the_page_may_load_nothing_but_what_it_has(picture: Path, tmp_path: Path):
    page = html(fold(drilled(picture), report_of), tmp_path / "report")
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in str(value))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_markdown_shows_the_file_that_lies_beside_it(picture: Path, tmp_path: Path):
    write_reports(fold(drilled(picture), report_of), tmp_path / "report")
    assert f"![{CAPTION}](drill.png)" in (tmp_path / "report" / "report.md").read_text()
    assert (tmp_path / "report" / "drill.png").read_bytes() == png()
    assert (tmp_path / "report" / "drill.png").stat().st_mode & 0o777 == 0o600


def test_ci_finds_the_picture_at_its_test_case(picture: Path, tmp_path: Path):
    write_reports(fold(alarmed(picture), report_of), tmp_path / "report")
    suite = ElementTree.parse(tmp_path / "report" / "junit.xml")
    said = suite.findtext(".//testcase[@name='drill']/system-out") or ""
    assert said.splitlines()[-1] == f"[[ATTACHMENT|{tmp_path / 'report' / 'drill.png'}]]"


@pytest.mark.parametrize("events", [drilled, alarmed])
def test_a_terminal_says_where_it_is(events: Callable[[Path], list[Event]], picture: Path):
    said = io.StringIO()
    print_ending(fold(events(picture), report_of), said)
    assert f"Picture of drill: {picture}" in said.getvalue()


def last_line(*results: StepResult) -> str:
    story = Story({})
    for number in range(len(results)):
        story.quick(f"node{number}", 1.0, {"number": number})
    said = io.StringIO()
    summary = fold(story.end("done", 0), lambda step, output: StepReport(result=results[int(str(output["number"]))]))
    print_ending(summary, said)
    return said.getvalue().splitlines()[-1]


def test_a_run_that_is_done_is_marked_where_one_of_its_results_is_a_warning():
    backup = StepResult(act="backup", subject="db", noun="VM", parts=("full",))
    drill = StepResult(act="drill", subject="db/1", noun="point", parts=("drill FAILED",), warns=True)
    assert last_line(backup).startswith("✓ Done: db, full, ")
    assert last_line(backup, drill).startswith("! Done: db, full; db/1, drill FAILED, ")


def test_programs_get_caption_and_file(picture: Path):
    result = Result("run", job_of(()), 0, picture.parent)
    ended = Ended.of(Path("job.yaml"), result, fold(drilled(picture), report_of), ())
    assert ended.document()["pictures"] == [{"caption": CAPTION, "file": str(picture)}]


def test_what_a_node_saw_is_shown_also_once_it_was_rolled_back(picture: Path):
    events = alarmed(picture)
    undone = NodeUndone(node="drill", step="drill", lifetime="keep", why="discarded")
    summary = fold([*events[:-1], undone, events[-1]], report_of)
    assert [one.caption for one in summary.pictures] == [CAPTION]
    assert [one.text for one in summary.statements] == ["It was seen."]


def test_a_run_that_was_resumed_shows_the_picture_of_what_it_kept(picture: Path):
    story = Story({}, resumed=True)
    story.keep("drill", {"picture": str(picture)})
    assert [one.file for one in fold(story.end("done", 0), report_of).pictures] == [str(picture)]


def test_a_journal_that_is_read_again_has_the_picture(picture: Path, tmp_path: Path):
    with Journal(tmp_path / "events.jsonl") as journal:
        for event in alarmed(picture):
            journal(event)
    read = fold(read_events(tmp_path / "events.jsonl"), report_of)
    assert [one.file for one in read.pictures] == [str(picture)]


def broken(tmp_path: Path, how: str) -> Path:
    path = tmp_path / "broken.png"
    match how:
        case "no PNG":
            path.write_bytes(b"<svg onload=alert(1)>" + png())
        case "cut":
            path.write_bytes(png()[:-20])
        case "too large":
            path.write_bytes(png(padding=LARGEST))
        case "a FIFO":
            os.mkfifo(path)
        case "a link":
            path.symlink_to("/etc/passwd")
        case "a directory":
            path.mkdir()
    return path


@pytest.mark.parametrize("how", ["missing", "no PNG", "cut", "too large", "a FIFO", "a link", "a directory"])
def test_a_picture_that_cannot_be_shown_is_a_sentence(how: str, tmp_path: Path):
    path = broken(tmp_path, how)
    page = html(fold(drilled(path), report_of), tmp_path / "report")
    assert "img" not in page.tags
    said = page.sections["What was seen"]
    assert CAPTION in said
    assert str(path) in said
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "![" not in markdown
    assert CAPTION in markdown
    assert sorted(one.name for one in (tmp_path / "report").iterdir()) == ["junit.xml", "report.html", "report.md"]


def test_a_picture_of_two_mebibytes_is_shown(tmp_path: Path):
    path = tmp_path / "large.png"
    path.write_bytes(png(padding=2 * MiB - len(png()) - 12))
    assert path.stat().st_size == 2 * MiB
    image(html(fold(drilled(path), report_of), tmp_path / "report"))


def test_a_caption_from_elsewhere_is_no_markup(picture: Path, tmp_path: Path):
    page = html(fold(drilled(picture, caption=EVIL), report_of), tmp_path / "report")
    assert "script" not in page.tags
    assert image(page)["alt"] is not None
    markdown = (tmp_path / "report" / "report.md").read_text()
    (line,) = [line for line in markdown.splitlines() if line.startswith("![")]
    assert line.endswith("](drill.png)")
    assert r"\[a\](b)" in line


def test_pictures_of_nodes_whose_names_look_alike_lie_apart(picture: Path, tmp_path: Path):
    story = Story({})
    for node in ("drill[a/b]", "drill[a b]"):
        story.quick(node, 1.0, {"picture": str(picture)})
    write_reports(fold(story.end("done", 0), report_of), tmp_path / "report")
    assert {"drill-a-b.png", "drill-a-b-2.png"} <= {one.name for one in (tmp_path / "report").iterdir()}


def test_that_a_guest_was_watched_is_nothing_that_moved(tmp_path: Path):
    """It ends when it has seen enough, which is less than it might have taken."""
    story = Story({})
    story.begin("drill")
    for second in (0, 1, 2):
        story.tell(NodeProgress, node="drill", label="pgtest1", phase="watch", done=second, total=300, noun="second")
    story.finish("drill", 2.0)
    summary = fold(story.end("done", 0), report_of)
    assert summary.throughput.phases == {}
    page = html(summary, tmp_path / "report")
    assert not {"Throughput", "What moved in this attempt"} & page.sections.keys()
    assert "300" not in page.sections[""]


def test_a_run_without_pictures_has_no_heading_for_them(tmp_path: Path):
    assert "What was seen" not in html(fold(done_run(), report_of), tmp_path / "report").sections
