"""What a set selects, for people: how many by which rule, each with its path; what is left out, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from runner.base.units import counted
from runner.console.tables import print_table
from runner.step.items import Item, Items, LeftOut

EVERY = "all"
"""In the place of a rule where a set has none."""


def print_selected(
    name: str, source: str, noun: str, items: Items, wanted: tuple[Item, ...], stream: TextIO
) -> None:
    """`wanted`: those of the chosen that were asked for."""
    some = "" if len(wanted) == len(items.chosen) else f"; shown: {len(wanted)}"
    total = len(items.chosen)
    title = f"{name} selects {counted(total, noun) if total else f'no {noun}'} of {source}{some}"
    if wanted:
        print_table(title, (noun, "path", "rule"), [_row(item) for item in wanted], stream=stream)
    else:
        stream.write(f"{title}\n")
    if len(by_rule := Counter(item.rule for item in wanted)) > 1:
        rows = [(rule or EVERY, str(count)) for rule, count in by_rule.most_common()]
        stream.write("\n")
        print_table("By rule", ("rule", f"{noun}s"), rows, stream=stream)
    _left_out("Left out by `not`", noun, (one for one in items.left_out if one.by_rule), stream)
    _left_out(
        "Left out: cannot be worked on", noun, (one for one in items.left_out if not one.by_rule), stream
    )
    _left_out("Not known whether selected", noun, items.unread, stream)
    if items.unfit:
        stream.write("\n")
        print_table(
            f"Rules that fit no {noun}",
            ("rule", "what may be meant"),
            list(items.unfit.items()),
            stream=stream,
        )


def _row(item: Item) -> tuple[str, str, str]:
    return (item.name, item.path, item.rule or EVERY)


def _left_out(title: str, noun: str, found: Iterable[LeftOut], stream: TextIO) -> None:
    rows = [(one.item.name, one.item.path, one.item.rule or EVERY, one.why) for one in found]
    if rows:
        stream.write("\n")
        print_table(f"{title} ({len(rows)})", (noun, "path", "rule", "why"), rows, stream=stream)
