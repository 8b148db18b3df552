"""A plan for people: a table on a terminal, Markdown for a merge request, Mermaid for a picture."""

from __future__ import annotations

from collections.abc import Container
from typing import TextIO

from runner.base.dag import Dag
from runner.base.printable import printable
from runner.base.units import human_bytes
from runner.console import difference_view
from runner.console.diff import print_diff
from runner.console.tables import print_table
from runner.engine.difference import Difference
from runner.engine.plan import Plan, PlanNode
from runner.report.markdown import code, plain

_SIGNS = {"run": "+", "keep": "=", "open": "~", "idle": "·", "unknown": "?"}
_WORDS = {"run": "run", "keep": "reuse", "open": "open", "idle": "not needed", "unknown": "?"}


MOST_NAMED = 50
"""Of what would be deleted: more are a list for programs."""


def headline(plan: Plan) -> str:
    """What it comes to, in a sentence or two."""
    counts = {word: sum(node.action == word for node in plan.nodes) for word in _SIGNS}
    parts = [f"{counts['run']} to run"]
    if counts["keep"]:
        parts.append(f"{counts['keep']} reused")
    if counts["open"]:
        parts.append(f"{counts['open']} {'process' if counts['open'] == 1 else 'processes'} to open")
    if counts["unknown"]:
        parts.append(f"{counts['unknown']} not known yet")
    begin = f"resumes run {plan.resumes}" if plan.resumes else "starts a new run"
    if plan.each:
        begin = f"is a set, and starts a run for each {plan.each}"
    if plan.holder is not None:
        begin = f"is running now ({plan.holder}); still to do"
    offline = " Offline: only the job file was read." if plan.offline else ""
    return f"{plan.job} {begin}: {', '.join(parts)}.{offline}"


def head(plan: Plan) -> list[tuple[str, str]]:
    """What a reviewer must see first, as name and text."""
    removed = [name for node in plan.nodes for name in node.removes]
    rows = [(one.name, one.text) for one in plan.about]
    if removed:
        more = (
            f" and {len(removed) - MOST_NAMED} more, which --json names" if len(removed) > MOST_NAMED else ""
        )
        rows.append(("would be deleted", f"{', '.join(removed[:MOST_NAMED])}{more}"))
    for needed in plan.space:
        seen_below = ": PROBLEM, see below" if needed.problem is not None else ""
        rows.append(("space", (needed.note or needed.sentence) + seen_below))
    return rows


def print_text(plan: Plan, stream: TextIO, *, said: Container[str] = ()) -> None:
    """`said`: notes that stand above it already."""
    title = headline(plan)
    if plan.against is not None and plan.against.state == "deleted":
        print_difference(plan.against, plan.job, stream)
        return
    if rows := head(plan):
        print_table(title, ("setting", "value"), rows, stream=stream)
        stream.write("\n")
        title = ""
    if plan.against is not None:
        print_difference(plan.against, plan.job, stream)
        stream.write("\n")
    sized = any(node.size is not None for node in plan.nodes)
    nodes = [
        (
            _SIGNS[node.action],
            node.id,
            _WORDS[node.action],
            *((_size(node),) if sized else ()),
            _remarks(node, said),
        )
        for node in plan.nodes
    ]
    columns = ("", "node", "what", *(("size",) if sized else ()), "why")
    print_table(title, columns, nodes, stream=stream)
    for note in plan.notes:
        stream.write(f"note: {printable(note)}\n")
    for warning in plan.warnings:
        stream.write(f"warning: {printable(warning)}\n")
    for problem in plan.problems:
        stream.write(f"problem: {problem}\n")


def print_difference(found: Difference, job: str, stream: TextIO) -> None:
    told = [printable(difference_view.headline(found, job))]
    told += [f"! {printable(warning)}" for warning in difference_view.warnings(found)]
    print_diff((*told, *difference_view.lines(found)), stream)


def as_markdown(plan: Plan) -> str:
    title = [f"### Plan of {code(plan.job)}", ""]
    against = [] if plan.against is None else difference_in_markdown(plan.against, plan.job)
    if plan.against is not None and plan.against.state == "deleted":
        return "\n".join([*title, *against])
    lines = [
        *title,
        plain(headline(plan)),
        "",
        *against,
        *_head_in_markdown(plan),
        "| | node | what | size | why |",
        "|---|---|---|---:|---|",
    ]
    for node in plan.nodes:
        told = (_WORDS[node.action], _size(node), plain(_remarks(node)))
        lines.append("| " + " | ".join((_SIGNS[node.action], code(node.id, in_table=True), *told)) + " |")
    lines += ["", *(f"- note: {plain(note)}" for note in plan.notes)]
    lines += [f"- **warning** {plain(warning)}" for warning in plan.warnings]
    lines += [f"- **problem** {plain(problem)}" for problem in plan.problems]
    lines += [
        "<details><summary>Graph</summary>",
        "",
        "```mermaid",
        as_mermaid(plan),
        "```",
        "",
        "</details>",
    ]
    return "\n".join(lines)


def difference_in_markdown(found: Difference, job: str) -> list[str]:
    lines = difference_view.lines(found)
    told = [plain(difference_view.headline(found, job)), ""]
    told += [f"> **{plain(warning)}**" for warning in difference_view.warnings(found)]
    # Each line begins with a sign, so that none of them ends the block.
    return [*told, "", "```diff", *lines, "```", ""] if lines else [*told, ""]


def _head_in_markdown(plan: Plan) -> list[str]:
    rows = [f"| {plain(name)} | {plain(text)} |" for name, text in head(plan)]
    return ["| setting | value |", "|---|---|", *rows, ""] if rows else []


def as_mermaid(plan: Plan) -> str:
    """A Mermaid flowchart, top to bottom, without the edges that follow from others; names are numbered since
    Mermaid's ids take few characters."""
    numbers = {node.id: f"n{number}" for number, node in enumerate(plan.nodes)}
    dag = Dag(numbers)
    dag.add(plan.edges)
    lines = ["flowchart TD"]
    for node in plan.nodes:
        left, right = ("([", "])") if node.lifetime == "process" else ("[", "]")
        label = printable(node.id).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        lines.append(f'    {numbers[node.id]}{left}"{label}"{right}:::{node.action}')
    lines += [f"    {numbers[first]} --> {numbers[second]}" for first, second in dag.reduced()]
    lines += [
        "    classDef run fill:#dbeafe,stroke:#2563eb,color:#111",
        "    classDef keep fill:#dcfce7,stroke:#16a34a,color:#111",
        "    classDef open fill:#fef9c3,stroke:#ca8a04,color:#111",
        "    classDef idle fill:#f3f4f6,stroke:#9ca3af,color:#111",
        "    classDef unknown fill:#fff,stroke:#9ca3af,stroke-dasharray:4,color:#111",
    ]
    return "\n".join(lines)


def _size(node: PlanNode) -> str:
    return "" if node.size is None else human_bytes(node.size)


def _remarks(node: PlanNode, said: Container[str] = ()) -> str:
    notes = (note for note in node.notes if note not in said)
    below = [word for word, told in (("WARNING", node.warnings), ("PROBLEM", node.problems)) if told]
    return "; ".join((node.why, *notes, *(f"{word}, see below" for word in below)))
