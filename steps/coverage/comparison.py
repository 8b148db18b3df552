"""What a change of job files takes out of every job, and what it adds: of the VMs that there are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from runner.base.model import Model
from runner.base.render import render_report
from runner.base.units import counted
from runner.console.tables import print_table
from runner.job.model import Excuse
from runner.report import markdown
from steps.coverage.document import UNCOVERED
from steps.coverage.judgement import Seen, Taking, VCenterSeen, excused_by
from steps.coverage.view import SHOWN, span

Kind = Literal["out", "excused", "in", "weaker", "moved"]
"""Of a change, the worst first.

out      in no job any more
excused  in no job any more, as `unprotected:` says why
weaker   its rpo is longer, or gone
in       in a job now, and in none before
moved    in other jobs than before
"""
ORDER: tuple[Kind, ...] = ("out", "excused", "weaker", "in", "moved")
TITLES: dict[Kind, str] = {
    "out": "Taken out of every job",
    "excused": "Taken out of every job, and excused",
    "weaker": "With a weaker rpo",
    "in": "Added",
    "moved": "In other jobs than before",
}
COLUMNS = ("VM", "inventory path", "before", "after", "why")


class Change(Model):
    vm: str
    path: str
    id: str
    vcenter: str
    kind: Kind
    before: tuple[str, ...]
    """Jobs."""
    after: tuple[str, ...]
    why: str
    """In words; why it is excused, what its rpo was and is."""


class Comparison(Model):
    schema_version: Literal[1] = 1
    site: str
    against: str
    vms: int
    """That were looked at."""
    changes: tuple[Change, ...]
    """The worst first."""
    deleted: tuple[str, ...]
    """Files of jobs that are no longer there."""
    added: tuple[str, ...]
    unread: tuple[str, ...]
    notes: tuple[str, ...]

    def of(self, kind: Kind) -> list[Change]:
        return [one for one in self.changes if one.kind == kind]

    @property
    def exit_code(self) -> int:
        return 1 if self.unread else UNCOVERED if self.of("out") else 0


@dataclass(frozen=True)
class Side:
    """One version of the files."""

    seen: Seen
    excuses: Sequence[Excuse]


def changes(before: Side, after: Side) -> Iterator[Change]:
    """Both are of the same censuses."""
    then = {vcenter.census.key: vcenter for vcenter in before.seen.vcenters}
    for vcenter in after.seen.vcenters:
        was = then.get(vcenter.census.key) or VCenterSeen(vcenter.name, vcenter.census)
        excused = {item.id: one.reason for one in after.excuses for item in excused_by(vcenter, one)}
        for item in vcenter.census.everything:
            old, new = was.taken.get(item.id, []), vcenter.taken.get(item.id, [])
            if (kind := _kind(old, new, excused=item.id in excused)) is None:
                continue
            rpo = f"rpo {_rpo(old)}, then {_rpo(new)}" if kind == "weaker" else ""
            yield Change(
                vm=item.name,
                path=item.path,
                id=item.id,
                vcenter=vcenter.name,
                kind=kind,
                before=_jobs(old),
                after=_jobs(new),
                why=excused[item.id] if kind == "excused" else rpo,
            )


def _kind(old: Sequence[Taking], new: Sequence[Taking], *, excused: bool) -> Kind | None:
    if old and not new:
        return "excused" if excused else "out"
    if new and not old:
        return "in"
    if old and _least(new) > _least(old):
        return "weaker"
    return "moved" if _jobs(old) != _jobs(new) else None


def _least(takings: Sequence[Taking]) -> float:
    return min((one.rpo for one in takings if one.rpo is not None), default=float("inf"))


def _rpo(takings: Sequence[Taking]) -> str:
    least = _least(takings)
    return "none" if least == float("inf") else span(least)


def _jobs(takings: Sequence[Taking]) -> tuple[str, ...]:
    return tuple(sorted(one.job for one in takings))


def compared(before: Side, after: Side, made: Comparison) -> Comparison:
    """`made`, with what changes."""
    found = sorted(changes(before, after), key=lambda one: (ORDER.index(one.kind), one.path))
    vms = sum(len(vcenter.census.everything) for vcenter in after.seen.vcenters)
    return made.model_copy(update={"changes": tuple(found), "vms": vms})


def headline(found: Comparison) -> str:
    out, added, excused = (len(found.of(kind)) for kind in ("out", "in", "excused"))
    parts = []
    if out:
        parts.append(f"takes {counted(out, 'VM')} out of every job")
    if excused:
        parts.append(f"takes {counted(excused, 'VM')} out of every job that `unprotected:` excuses")
    if added:
        parts.append(f"adds {counted(added, 'VM')}")
    if weaker := len(found.of("weaker")):
        parts.append(f"weakens the rpo of {counted(weaker, 'VM')}")
    if moved := len(found.of("moved")):
        parts.append(f"moves {counted(moved, 'VM')} to other jobs")
    if not parts:
        nothing = "changes nothing of what is backed up"
        parts = ["changes nothing of what could be read" if found.unread else nothing]
    return f"This merge {', '.join(parts)}."


def print_text(found: Comparison, out: TextIO, *, everything: bool) -> None:
    for kind in ORDER:
        rows = _rows(found, kind)
        if rows:
            shown = rows if everything else rows[:SHOWN]
            print_table(f"{TITLES[kind]}: {len(rows)}", COLUMNS, shown, stream=out)
            if len(shown) < len(rows):
                out.write(f"… and {len(rows) - len(shown)} more: --all lists them\n")
            out.write("\n")
    for name in found.deleted:
        out.write(f"deleted: {name}\n")
    for name in found.added:
        out.write(f"new: {name}\n")
    for text in found.notes:
        out.write(f"note: {text}\n")
    for text in found.unread:
        out.write(f"not read: {text}\n")
    out.write(f"{headline(found)}\n")


def as_markdown(found: Comparison) -> str:
    tables = [(TITLES[kind], kind, rows) for kind in ORDER if (rows := _rows(found, kind))]
    values = {"found": found, "headline": headline(found), "tables": tables, "columns": COLUMNS}
    return render_report("coverage-against.md.j2", {**values, "shown": SHOWN, "md": markdown.plain})


def _rows(found: Comparison, kind: Kind) -> list[tuple[str, ...]]:
    return [
        (one.vm, one.path, ", ".join(one.before) or "–", ", ".join(one.after) or "–", one.why)
        for one in found.of(kind)
    ]
