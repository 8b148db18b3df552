"""The plan of a set for people: what a reviewer must see first, a line for each VM, sums, problems."""

from __future__ import annotations

from datetime import UTC
from typing import TextIO

from runner.base.printable import printable
from runner.base.units import counted, human_bytes
from runner.console.plan_view import difference_in_markdown, print_difference
from runner.console.tables import print_table
from runner.engine.set_plan import SetPlan, SetRow, Sum, Vanished, sentence, total
from runner.report.markdown import code, plain

MARKDOWN_ROWS = 200
"""A comment on a merge request holds 65,536 characters; the rest is counted."""


def headline(plan: SetPlan) -> str:
    """``gold: 12 VMs: 10 incremental, 2 full.``"""
    counts = ", ".join(f"{count} {what}" for what, count in plan.counts.items())
    some = "" if len(plan.rows) == plan.selected else f" of the {plan.selected} that are selected"
    return f"{plan.set}: {counted(len(plan.rows), plan.noun)}{some}{counts and f': {counts}'}."


def head(plan: SetPlan) -> list[tuple[str, str]]:
    """Name and text."""
    rows = [(one.name, one.text) for one in plan.about]
    disks, size = total(row.disks for row in plan.rows), total(row.size for row in plan.rows)
    if disks is not None and size is not None and plan.rows:
        rows.append(("disks", f"{disks} of {human_bytes(size)}"))
    if removed := sum(row.removes for row in plan.rows):
        rows.append(("would be deleted", counted(removed, "restore point")))
    for needed in plan.space:
        below = ": PROBLEM, see below" if needed.problem is not None else ""
        rows.append(("space", (needed.note or needed.sentence) + below))
    rows += [("waits", f"{counted(one.items, plan.noun)}: {one.what}") for one in plan.waiting]
    if plan.left_out:
        rows.append(
            ("left out", f"{counted(plan.left_out, plan.noun)}: `sendense select {plan.file}` names them")
        )
    rows += [("fits nothing", rule + (why and f": {why}")) for rule, why in plan.unfit.items()]
    return rows


def print_text(plan: SetPlan, stream: TextIO) -> None:
    print_table(headline(plan), ("setting", "value"), head(plan), stream=stream)
    stream.write("\n")
    if plan.against is not None:
        print_difference(plan.against, plan.set, stream)
        stream.write("\n")
    if plan.rows:
        print_table(
            "", (plan.noun, "what", "disks", "size", "why"), [_cells(row) for row in plan.rows], stream=stream
        )
    if plan.sums:
        stream.write("\n")
        columns = ("stands on", "", f"{plan.noun}s", "disks", "size")
        print_table("", columns, [_sum(one) for one in plan.sums], stream=stream)
    for line in _said(plan):
        stream.write(f"{printable(line)}\n")


def as_markdown(plan: SetPlan) -> str:
    lines = [f"### Plan of the set {code(plan.set)}", "", plain(headline(plan)), ""]
    lines += ["| setting | value |", "|---|---|"]
    lines += [f"| {plain(name)} | {plain(text)} |" for name, text in head(plan)]
    if plan.against is not None:
        lines += ["", *difference_in_markdown(plan.against, plan.set)]
    lines += ["", f"| {plan.noun} | what | disks | size | why |", "|---|---|---:|---:|---|"]
    shown = plan.rows[:MARKDOWN_ROWS]
    lines += ["| " + " | ".join(plain(cell) for cell in _cells(row)) + " |" for row in shown]
    if len(plan.rows) > len(shown):
        lines += ["", f"… and {len(plan.rows) - len(shown)} more."]
    if plan.sums:
        lines += ["", f"| stands on | | {plan.noun}s | disks | size |", "|---|---|---:|---:|---:|"]
        lines += ["| " + " | ".join(plain(cell) for cell in _sum(one)) + " |" for one in plan.sums]
    return "\n".join([*lines, "", *(f"- {plain(line)}" for line in _said(plan))])


def _said(plan: SetPlan) -> list[str]:
    """What is to be known beyond the table, the worst last."""
    lines = [f"note: {note}" for note in plan.notes]
    lines += [f"note: {_gone(one, plan)}" for one in plan.vanished]
    lines += [f"warning: {sentence(one, plan.noun)}" for one in plan.warnings]
    return lines + [f"problem: {problem}" for problem in plan.problems]


def _gone(one: Vanished, plan: SetPlan) -> str:
    parts = []
    if one.points and one.newest is not None:
        newest = one.newest.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        stay = "stays" if one.points == 1 else "stay"
        parts.append(f"{counted(one.points, 'restore point')} {stay}, the newest of {newest}")
    if one.unfinished is not None:
        command = f"`sendense sweep {plan.file} --abandon {one.unfinished}`"
        parts.append(f"its run {one.unfinished} is unfinished: {command} discards it")
    kept = "; ".join(parts) or "it was backed up before"
    return f"{one.name} ({one.id}) is no longer selected: {kept}"


def _cells(row: SetRow) -> tuple[str, str, str, str, str]:
    below = [word for word, told in (("WARNING", row.warnings), ("PROBLEM", row.problems)) if told]
    remarks = "; ".join(filter(None, (row.why, *(f"{word}, see below" for word in below))))
    disks = "" if row.disks is None else str(row.disks)
    return (row.name, row.what, disks, "" if row.size is None else human_bytes(row.size), remarks)


def _sum(one: Sum) -> tuple[str, str, str, str, str]:
    disks = "" if one.disks is None else str(one.disks)
    return (one.kind, one.name, str(one.items), disks, "" if one.size is None else human_bytes(one.size))
