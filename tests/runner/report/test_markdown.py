"""What CI posts on a merge request, as its Markdown is read there: names from elsewhere are text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from runner.console.plan_view import as_markdown
from runner.engine.plan import Plan, PlanNode
from runner.events.fold import fold
from runner.events.step_report import Statement, StepReport
from runner.report import markdown
from runner.report.report import render_markdown
from tests.run_events import failed_run

NAMES = (
    "<script>alert(1)</script>",
    "a](javascript:alert(1))",
    "![x](https://example.com/seen.png)",
    "[x](https://example.com)",
    "``` ` <img src=x>",
    "| <b>cell</b> |",
    "*b* _i_ ~~s~~ **B**",
    "&lt;script&gt;",
    "<https://example.com>",
    "\x1b]8;;https://example.com\x07x\n# heading\n- item\n> quote",
    "\\<b>",
    "a\u202eb",
)
OURS = {"h1", "h2", "h3", "p", "ul", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "strong"}
FOLD = {"details", "summary"}
"""The plan's own HTML, round its graph."""


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Tags:
    """As a forge does that lets HTML through."""
    return Tags(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_what_is_plain_reads_as_it_was_written(name: str) -> None:
    for text in (f"- {markdown.plain(name)}", f"# {markdown.plain(name)}", f"x {markdown.code(name)} y"):
        found = read(text)
        assert found.found <= {"ul", "li", "p", "h1", "code"}, found.found
        assert "\x1b" not in found.text
        if name.isprintable():
            assert name in found.text


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_report_has_no_markup_from_names(name: str) -> None:
    run = fold(failed_run(), lambda step, output: StepReport(statements=(Statement(about="noted", text=name),)))
    found = read(render_markdown(run.model_copy(update={"job": name, "error": name})))
    assert found.found <= OURS, found.found - OURS
    assert "\x1b" not in found.text


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_plan_has_no_markup_from_names(name: str) -> None:
    node = PlanNode(
        id=f"image[{name}]", step="s", lifetime="keep", action="run", why=name, notes=(name,), problems=(name,)
    )
    plan = Plan(job=name, file=name, offline=False, resumes=None, holder=name, nodes=(node,), edges=())
    found = read(as_markdown(plan))
    assert found.found <= OURS | FOLD, found.found - OURS
    assert "\x1b" not in found.text
