"""A coverage as people read it: the worst first, as text, Markdown and one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from runner import __version__
from runner.base.render import render_report
from runner.base.units import DAY, HOUR, MINUTE, counted
from runner.console.tables import print_table
from runner.report import markdown
from steps.coverage.document import ALARMING, ORDER, WORDS, Coverage, Gone, State, VmCoverage

SHOWN = 50
"""Rows of a table in a terminal or a merge request: who reads more of them looks at the page."""

COLUMNS = ("VM", "inventory path", "job", "age", "rpo", "copy", "verified", "drill passed", "why")
GONE = ("VM", "inventory path", "points", "newest", "why")
QUANTITIES = ("age", "rpo", "copy", "verified", "drill passed")
"""Columns that stand to the right."""
NOTHING = "–"

TITLES: dict[State, str] = {
    "uncovered": "In no job",
    "no-point": "Without a good restore point",
    "too-old": "Older than their rpo",
    "no-copy": "Without the copy that their job makes",
    "unworkable": "Cannot be backed up as they are",
    "unknown": "Unknown: not all could be read",
    "good": "Covered",
    "excused": "In no job, and excused",
    "template": "Templates, which no job can take",
}


@dataclass(frozen=True)
class Group:
    """VMs in one state."""

    title: str
    state: State
    columns: tuple[str, ...]
    """Those of `COLUMNS` that say something in any row."""
    rows: tuple[tuple[str, ...], ...]

    @property
    def alarming(self) -> bool:
        return self.state in ALARMING


def headline(found: Coverage) -> str:
    """``1000 VMs: 37 in no job, 2 too old, 961 covered``"""
    counts = found.counts
    told = ", ".join(f"{counts[state]} {WORDS[state]}" for state in ORDER if counts[state])
    unread = f"; {counted(len(found.unread), 'thing')} could not be read" if found.unread else ""
    return f"{counted(len(found.vms), 'VM')}: {told or 'none at all'}{unread}"


def groups(found: Coverage) -> Iterator[Group]:
    """Those that there are; the worst first."""
    for state in ORDER:
        if rows := tuple(_row(one, found.at) for one in found.vms if one.state == state):
            yield Group(TITLES[state], state, *_trimmed(COLUMNS, rows))


def _row(one: VmCoverage, at: datetime) -> tuple[str, ...]:
    why = one.why.removeprefix(WORDS[one.state]).removeprefix(", ").removeprefix(": ")
    drill = "" if one.drilled is None else one.drilled.trouble
    said = "; ".join(filter(None, (why, drill, *one.notes)))
    return (
        one.vm,
        one.path,
        ", ".join(one.jobs) or NOTHING,
        NOTHING if one.age is None else span(one.age),
        NOTHING if one.rpo is None else span(one.rpo),
        NOTHING if one.copied is None else span((at - one.copied).total_seconds()),
        NOTHING if one.verified is None else _ago(one.verified, at),
        _drilled(one, at),
        said,
    )


def _drilled(one: VmCoverage, at: datetime) -> str:
    """When it last passed; and what the newest drill came to if that did not."""
    if one.drilled is None:
        return "unknown" if one.drill_unknown else NOTHING if one.newest_good is None else "never"
    passed = "never" if one.drill_passed is None else _ago(one.drill_passed, at)
    if one.drilled.verdict == "passed":
        return passed
    word = "FAILED" if one.drilled.verdict == "failed" else one.drilled.verdict
    return f"{passed}, {word} {_ago(one.drilled.at, at)}"


def _ago(then: datetime, at: datetime) -> str:
    return f"{span((at - then).total_seconds())} ago"


def _trimmed(
    columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Without the columns that say nothing in any row: they take the place of those that do."""
    used = [index for index in range(len(columns)) if any(row[index] not in ("", NOTHING) for row in rows)]
    return tuple(columns[index] for index in used), tuple(tuple(row[index] for index in used) for row in rows)


def span(seconds: float) -> str:
    """``26 h``, ``3 d``: as coarse as one asks for it."""
    if seconds < HOUR:
        return f"{max(0.0, seconds) / MINUTE:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} d"


def print_text(found: Coverage, out: TextIO, *, everything: bool) -> None:
    """The last line is the outcome. Without `everything`, what is in order is counted alone, and of each
    table the first rows are shown."""
    for group in groups(found):
        if group.alarming or everything:
            _table(group.title, group.columns, group.rows, out, everything=everything)
    if rows := [_gone_row(one) for one in found.gone]:
        _table("With restore points, and in no vCenter", GONE, rows, out, everything=everything)
    for text in found.notes:
        out.write(f"note: {text}\n")
    for text in found.unread:
        out.write(f"not read: {text}\n")
    out.write(f"{headline(found)}\n")


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, *, everything: bool
) -> None:
    shown = rows if everything else rows[:SHOWN]
    print_table(f"{title}: {len(rows)}", columns, shown, stream=out)
    if len(shown) < len(rows):
        out.write(f"… and {len(rows) - len(shown)} more: --all lists them\n")
    out.write("\n")


def _gone_row(one: Gone) -> tuple[str, ...]:
    newest = "–" if one.newest is None else f"{one.newest:%Y-%m-%d %H:%M} UTC"
    return (one.vm, one.path, counted(one.points, "point"), newest, f"{one.why}; in {one.repository}")


def as_markdown(found: Coverage) -> str:
    return render_report("coverage.md.j2", {**_values(found), "shown": SHOWN})


def as_html(found: Coverage) -> str:
    """One file, without scripts and without anything from elsewhere."""
    return render_report("coverage.html.j2", _values(found))


def _values(found: Coverage) -> dict[str, object]:
    return {
        "version": __version__,
        "found": found,
        "headline": headline(found),
        "quantities": QUANTITIES,
        "groups": list(groups(found)),
        "gone": [_gone_row(one) for one in found.gone],
        "counts": list(_counts(found)),
        "oldest": _oldest(found.vms),
        "md": markdown.plain,
        "code": markdown.code,
    }


def _counts(found: Coverage) -> Iterator[tuple[State, str, int, bool]]:
    counts = found.counts
    yield from ((state, WORDS[state], counts[state], state in ALARMING) for state in ORDER if counts[state])


def _oldest(vms: Iterable[VmCoverage]) -> str:
    ages = [one.age for one in vms if one.age is not None and one.jobs]
    return span(max(ages)) if ages else ""
