"""A difference for people, as lines of a unified diff."""

from __future__ import annotations

from collections.abc import Iterator

from runner.base.printable import printable
from runner.base.units import counted
from runner.engine.difference import Change, Difference


def headline(found: Difference, job: str) -> str:
    match found.state:
        case "same":
            return f"{job} does the same as in {found.against}."
        case "new":
            return f"{job} is new: {found.against} does not have it."
        case "deleted":
            return f"{job} is deleted: {found.against} has it. It no longer runs; its restore points stay."
        case "changed":
            settings, nodes = counted(len(found.settings), "setting"), counted(len(found.nodes), "node")
            parts = [settings] if found.settings else []
            parts += [nodes] if found.nodes else []
            return f"Against {found.against}: {' and '.join(parts) or 'defaults'} changed."


def warnings(found: Difference) -> tuple[str, ...]:
    return tuple(f"{one.name} changed: {one.warning}" for one in found.about if one.warning)


def lines(found: Difference) -> list[str]:
    """Without a line break in any, so that none can pass for another; empty if nothing differs."""
    made: list[str] = []
    for title, changed in (("summary", found.about), ("job file", found.settings), ("nodes", found.nodes)):
        if changed:
            made += [f"@@ {title} @@", *(line for one in changed for line in _lines(one))]
    return [f"--- {printable(found.against)}", "+++ now", *made] if made else []


def _lines(one: Change) -> Iterator[str]:
    if one.before is not None:
        yield f"-{printable(one.name)}: {printable(one.before)}"
    if one.after is not None:
        yield f"+{printable(one.name)}: {printable(one.after)}"
