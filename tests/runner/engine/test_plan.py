"""The plan, with steps on a directory: what it says, and that it changes nothing."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from runner.console.plan_view import as_markdown, as_mermaid, headline, print_text
from runner.engine.plan import Plan, PlanNode
from runner.step.setting import Setting, merged
from tests.runner.toys import Bench, backup_like


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "items").write_text("2=two 1=one")
    return Bench(tmp_path, backup_like(tmp_path))


def actions(plan: Plan) -> dict[str, str]:
    return {node.id: node.action for node in plan.nodes}


def everything_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_first_plan_looks_fans_out_and_says_what_is_known_later(bench: Bench):
    plan = bench.plan()
    assert actions(plan) == {
        "look": "run",
        "guard": "open",
        "hold": "run",
        **dict.fromkeys(["make[1]", "make[2]", "copy[1]", "copy[2]", "prove[1]", "prove[2]", "join", "end"], "run"),
        **dict.fromkeys(["serve[1]", "serve[2]", "relay[1]", "relay[2]", "again[1]", "again[2]"], "open"),
    }
    why = {node.id: node.why for node in plan.nodes}
    assert why["make[1]"] == "after hold"
    assert why["copy[2]"] == "after make"
    assert why["serve[1]"] == "for copy[1]"


def test_a_plan_changes_nothing(bench: Bench):
    before = everything_below(bench.root)
    bench.plan()
    assert everything_below(bench.root) == before


def test_a_plan_of_an_unfinished_run_says_what_is_kept_and_what_need_not_open(bench: Bench):
    (bench.root / "fail-copy[2]").write_text("permanent")
    bench.run()
    plan = bench.plan()
    found = actions(plan)
    assert {node for node, action in found.items() if action == "keep"} == {
        "look",
        "hold",
        "make[1]",
        "make[2]",
        "copy[1]",
        "prove[1]",
    }
    assert found["serve[1]"] == found["relay[1]"] == found["again[1]"] == "idle"
    assert found["serve[2]"] == "open"
    assert next(node.why for node in plan.nodes if node.id == "copy[2]") == "failed before"


def test_offline_nothing_is_looked_at_and_lists_stay_open(bench: Bench):
    (bench.root / "items").unlink()
    plan = bench.plan(offline=True)
    assert plan.offline
    assert actions(plan)["make[…]"] == "unknown"
    assert "known after look" in next(node.why for node in plan.nodes if node.id == "make[…]")
    assert ("make[…]", "serve[…]") in plan.edges


def test_what_cannot_be_looked_at_is_a_problem_of_that_node(bench: Bench):
    (bench.root / "fail-look").write_text("permanent")
    plan = bench.plan()
    assert plan.problems == ("look: look is broken",)


def test_what_a_step_warns_of_that_only_looks_is_in_the_plan(bench: Bench):
    (bench.root / "warn-look").write_text("another list than before")
    plan = bench.plan()
    assert plan.warnings == ("look: another list than before",)
    out = io.StringIO()
    print_text(plan, out)
    assert "\nwarning: look: another list than before\n" in out.getvalue()
    assert "- **warning** look: another list than before\n" in as_markdown(plan)


def test_a_problem_of_several_nodes_is_told_once(bench: Bench):
    plan = bench.plan()
    down = {"problems": ("hub cannot be reached",)}
    nodes = [node.model_copy(update=down if node.id in ("guard", "make[1]") else {}) for node in plan.nodes]
    plan = plan.model_copy(update={"nodes": tuple(nodes)})
    assert plan.problems == ("guard, make[1]: hub cannot be reached",)
    stream = io.StringIO()
    print_text(plan, stream)
    for text in (stream.getvalue(), as_markdown(plan)):
        assert (text.count("hub cannot be reached"), text.count("PROBLEM, see below")) == (1, 2)


def test_markdown_and_mermaid_hold_every_node_and_edge(bench: Bench):
    plan = bench.plan()
    markdown, mermaid = as_markdown(plan), as_mermaid(plan)
    assert all(f"`{node.id}`" in markdown for node in plan.nodes)
    assert all(f'"{node.id}"' in mermaid for node in plan.nodes)
    assert headline(plan) in markdown


def reachable(edges: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """All pairs of which the second comes after the first."""
    after: dict[str, set[str]] = {}
    for first, second in edges:
        after.setdefault(first, set()).add(second)
    found: set[tuple[str, str]] = set()
    for first in after:
        waiting = [first]
        while waiting:
            for second in after.get(waiting.pop(), ()):
                if (first, second) not in found:
                    found.add((first, second))
                    waiting.append(second)
    return found


def test_the_picture_has_no_edge_that_follows_from_others(bench: Bench):
    plan = bench.plan()
    names = dict(re.findall(r'(n\d+)[\[(]+"([^"]*)"', as_mermaid(plan)))
    drawn = [(names[first], names[second]) for first, second in re.findall(r"(n\d+) --> (n\d+)", as_mermaid(plan))]
    assert reachable(drawn) == reachable(plan.edges)
    for edge in drawn:
        assert edge not in reachable(other for other in drawn if other != edge), f"{edge} follows from others"
    assert len(drawn) < len(plan.edges) / 2, "guards alone give an edge to all that changes something"


def test_what_several_steps_say_stands_on_one_line_and_a_fallback_only_where_nobody_says_more():
    said = [
        Setting(name="repository", text="main"),
        Setting(name="retention", text="none", fallback=True),
        Setting(name="repository", text="copy"),
        Setting(name="repository", text="main"),
        Setting(name="retention", text="keep-last 1", change="points may go"),
    ]
    assert [(one.name, one.text, one.change) for one in merged(said)] == [
        ("repository", "main, copy", ""),
        ("retention", "keep-last 1", "points may go"),
    ]
    assert [one.text for one in merged(said[1:2])] == ["none"]


def test_a_plan_begins_with_its_settings_and_with_what_would_be_deleted(bench: Bench):
    plan = bench.plan()
    nodes = [node.model_copy(update={"removes": ("vm/a", "vm/b")} if node.id == "end" else {}) for node in plan.nodes]
    plan = plan.model_copy(update={"about": (Setting(name="hold", text="12 h"),), "nodes": tuple(nodes)})
    stream = io.StringIO()
    print_text(plan, stream)
    lines = [line.split() for line in stream.getvalue().splitlines()]
    assert lines[1:5] == [["setting", "value"], ["hold", "12", "h"], ["would", "be", "deleted", "vm/a,", "vm/b"], []]
    assert as_markdown(plan).index("| hold | 12 h |") < as_markdown(plan).index("| + | `look` |")


def test_a_plan_is_a_document_that_can_be_read_back(bench: Bench):
    plan = bench.plan()
    assert Plan.from_json_value(plan.to_json_value()) == plan


def test_one_process_is_one_and_a_column_that_says_nothing_is_left_out() -> None:
    opened = PlanNode(id="lock", step="lock", lifetime="process", action="open", why="held while the run is active")
    plan = Plan(job="job", file="job.yaml", offline=False, resumes=None, nodes=(opened,), edges=())
    assert headline(plan) == "job starts a new run: 0 to run, 1 process to open."
    stream = io.StringIO()
    print_text(plan, stream)
    assert stream.getvalue().splitlines()[1].split() == ["node", "what", "why"]
    print_text(plan.model_copy(update={"nodes": (opened.model_copy(update={"size": 1 << 20}),)}), stream)
    assert "1.0 MiB" in stream.getvalue()
