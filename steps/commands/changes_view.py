"""A saved VM beside what is made of it: every thing, what becomes of it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from runner.console.tables import print_table
from steps.vsphere.vm_spec import Change

_SIGNS = {"kept": "=", "changed": "~", "left out": "-"}
SAME = "the same"
NOTHING = "–"
LEGEND = "= kept, ~ changed, - left out; ! the guest or its owner may notice"


def print_text(title: str, changes: Sequence[Change], stream: TextIO) -> None:
    if not changes:
        stream.write(f"{title} Everything is as it was.\n\n")
        return
    print_table(title, ("", "what", "was", "becomes", "why"), [_row(one) for one in changes], stream=stream)
    stream.write(f"{LEGEND}\n\n")


def _row(change: Change) -> tuple[str, ...]:
    sign = _SIGNS[change.kind] + ("!" if change.warn else "")
    becomes = "left out" if change.kind == "left out" else change.becomes
    return (sign, change.what, change.was or NOTHING, SAME if becomes == change.was else becomes, change.why)
