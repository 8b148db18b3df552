"""The report of a run, for people (report.md, report.html) and for CI (junit.xml); all three from one
summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from runner import __version__
from runner.base.errors import StateError
from runner.base.printable import printable
from runner.base.render import render_report
from runner.base.units import amount, human_bytes, human_seconds
from runner.events.flow import FlowSummary
from runner.events.outcomes import ENDINGS, NODES
from runner.events.step_report import Cell, Command
from runner.events.summary import NodeSummary, RunSummary, Table
from runner.hosts import files
from runner.report import markdown
from runner.report.graph_drawing import draw_graph
from runner.report.junit import render_junit
from runner.report.labels import Fact, clock, failures, in_lines, must_fix_first, story, verdict
from runner.report.pictures import Shown, shown
from runner.report.throughput_drawing import draw_throughput


def write_reports(summary: RunSummary, directory: Path) -> tuple[Path, ...]:
    """Writes report.html, report.md, junit.xml and the run's pictures (0600) to `directory`, which it makes;
    returns their paths. Raises StateError if they cannot be written."""
    pictures = shown(summary.nodes)
    contents = {
        "report.html": render_html(summary, pictures).encode(),
        "report.md": render_markdown(summary, pictures).encode(),
        "junit.xml": render_junit(summary, _attached(pictures, directory)).encode(),
        **{picture.name: picture.content for picture in pictures if picture.content},
    }
    try:
        files.make_directory(str(directory), parents=True)
        for name, content in contents.items():
            files.write(str(directory / name), content)
    except OSError as error:
        raise StateError(f"cannot write the report to {directory}: {error.strerror}") from error
    return tuple(directory / name for name in contents)


def _attached(pictures: Sequence[Shown], directory: Path) -> dict[str, list[str]]:
    """Paths by node."""
    found: dict[str, list[str]] = {}
    for picture in pictures:
        if picture.content:
            found.setdefault(picture.node, []).append(str(directory / picture.name))
    return found


def render_html(summary: RunSummary, pictures: Sequence[Shown] = ()) -> str:
    """Of the run's pictures it has `pictures`, and asks nobody for them."""
    graph = draw_graph(summary.nodes, summary.edges)
    values = _values(summary, pictures) | {"graph": graph, "chart": draw_throughput(summary.throughput)}
    page = render_report("report.html.j2", values)
    # jinja2 escapes what HTML knows, and lets control characters pass that a name may hold.
    return "\n".join(printable(line) for line in page.split("\n"))


def render_markdown(summary: RunSummary, pictures: Sequence[Shown] = ()) -> str:
    """`pictures` lie beside it."""
    values = _values(summary, pictures) | {"md": markdown.plain, "code": markdown.code}
    return render_report("report.md.j2", values)


def _values(summary: RunSummary, pictures: Sequence[Shown]) -> dict[str, object]:
    def said(about: str) -> list[str]:
        return [statement.text for statement in summary.statements if statement.about == about]

    order = {node.node: number for number, node in enumerate(summary.nodes)}
    return {
        "version": __version__,
        "run": summary,
        "verdict": verdict(summary),
        "endings": ENDINGS,
        "figures": _figures(summary),
        "facts": _facts(summary),
        "failures": failures(summary),
        "made": said("made"),
        "verified": said("verified"),
        "noted": [*said("noted"), *said("how")],
        "pictures": pictures,
        "commands": _by_purpose(summary.commands),
        "tables": [_table(table) for table in summary.tables],
        "flows": [
            _flow(flow) for flow in sorted(_moved(summary), key=lambda flow: order.get(flow.node, len(order)))
        ],
        "nodes": [_nodes(line, summary) for line in in_lines(summary.nodes)],
        "must_fix_first": must_fix_first(summary),
        "clock": clock,
    }


def _by_purpose(commands: Iterable[Command]) -> list[dict[str, object]]:
    lines: dict[str, list[str]] = {}
    for command in commands:
        lines.setdefault(command.purpose, []).append(command.line)
    return [{"purpose": purpose, "lines": lines[purpose]} for purpose in lines]


def _figures(summary: RunSummary) -> list[Fact]:
    figures = [Fact("Took", human_seconds(summary.seconds))]
    states = [node.state for node in summary.nodes]
    counted = [f"{states.count(state)} {ending.word}" for state, ending in NODES.items() if state in states]
    figures.append(Fact("Nodes", ", ".join(counted)))
    moved = _moved(summary)
    for phase in dict.fromkeys(flow.phase for flow in moved):
        figures.append(Fact(phase.capitalize(), _phase([flow for flow in moved if flow.phase == phase])))
    return figures


def _moved(summary: RunSummary) -> list[FlowSummary]:
    return [flow for flow in summary.flows if not flow.is_wait]


def _phase(flows: Sequence[FlowSummary]) -> str:
    """What was read in it, not how large the disks are; how far it came where that is not to the end."""
    done, totals = sum(flow.done for flow in flows), [flow.total for flow in flows]
    total = sum(filter(None, totals))
    noun = flows[0].noun
    of = f"{amount(done, noun)} of {'unknown' if None in totals else amount(total, noun)} done"
    if noun != "bytes":
        return of
    read = f"{human_bytes(sum(flow.moved for flow in flows))} read"
    return read if all(flow.state == "complete" for flow in flows) else f"{read}, {of}"


def _facts(summary: RunSummary) -> list[Fact]:
    ended = "ended" if summary.outcome != "unfinished" else "last seen"
    return [
        Fact("Run", summary.run, exact=True),
        Fact("Started", clock(summary.started) + (" (resumed)" if summary.resumed else "")),
        Fact(ended.capitalize(), clock(summary.ended)),
        Fact("Exit code", "none" if summary.exit_code is None else str(summary.exit_code)),
        Fact("Run by", summary.by or "not recorded", exact=True),
        Fact("Git commit", summary.git_commit or "not in git", exact=True),
        Fact(
            "Set on the command line",
            ", ".join(f"{name}={value}" for name, value in summary.settings.items()) or "nothing",
        ),
        *(Fact(f"SHA-256 of {file}", digest, exact=True) for file, digest in summary.files.items()),
    ]


def _table(table: Table) -> dict[str, object]:
    """Long cells (digests, paths) stand below their line: `columns` and `cells` are the others."""

    def any_cell(column: str, what: str) -> bool:
        return any(getattr(cells[column], what) for _, cells in table.rows if column in cells)

    below = [column for column in table.columns if any_cell(column, "long")]
    columns = [column for column in table.columns if column not in below]
    nothing = Cell(value="")
    return {
        "title": table.title,
        "heading": table.title.removesuffix("s"),
        "columns": [{"name": column, "numeric": any_cell(column, "numeric")} for column in columns],
        "below": below,
        "rows": [
            {
                "key": key,
                "cells": [
                    {"text": cells.get(column, nothing).text(), "numeric": any_cell(column, "numeric")}
                    for column in columns
                ],
                "below": [Fact(column, cells.get(column, nothing).text()) for column in below],
            }
            for key, cells in table.rows
        ],
    }


def _flow(flow: FlowSummary) -> dict[str, object]:
    parts = (flow.data, flow.zero, flow.skipped)
    of = "of unknown" if flow.total is None else f"of {amount(flow.total, flow.noun)}"
    share = f", {flow.done * 100 // flow.total} %" if flow.total else ""
    done = amount(flow.done, flow.noun)
    return {
        "node": flow.node,
        "what": f"{flow.label}, {flow.phase}",
        "complete": flow.state != "incomplete",
        "done": done if flow.state == "complete" else f"{done} {of}{share}",
        "cells": [
            human_bytes(flow.moved) if flow.noun == "bytes" else "",
            # Work that does not tell them apart has none of them.
            *(human_bytes(count) if any(parts) else "" for count in parts),
            human_seconds(flow.seconds),
            "" if flow.speed is None else f"{human_bytes(flow.speed)}/s",
        ],
    }


def _nodes(line: Sequence[NodeSummary], summary: RunSummary) -> dict[str, object]:
    first = _node(line[0], summary)
    if len(line) == 1:
        return first
    steps = ", ".join(dict.fromkeys(node.step or "not reached" for node in line))
    return first | {"name": ", ".join(node.node for node in line), "step": steps, "many": True}


def _node(node: NodeSummary, summary: RunSummary) -> dict[str, object]:
    """`bar`: where in the run's time it began and how long it took, both as shares."""
    whole = max((summary.ended - summary.started).total_seconds(), 0.001)
    bar = None
    if node.started is not None and node.seconds is not None:
        start = min(max((node.started - summary.started).total_seconds() / whole, 0.0), 1.0)
        # Never thinner than what an eye can see.
        bar = (min(start, 0.99), min(max(node.seconds / whole, 0.01), 1.0 - min(start, 0.99)))
    ending = NODES[node.state]
    return {
        "name": node.node,
        "many": False,
        "step": node.step,
        "tone": ending.tone,
        "mark": ending.mark,
        "word": ending.word,
        "seconds": "" if node.seconds is None else human_seconds(node.seconds),
        "bar": bar,
        "why": story(node),
    }
