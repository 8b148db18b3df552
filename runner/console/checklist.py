"""Observations as a list that a person can work through: one line each, the remedy below what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TextIO

from runner.observations import Observation
from runner.printable import printable

_SIGNS = {"good": "ok", "noted": "note", "wrong": "WRONG"}
_INDENT = " " * 9


def print_checklist(observations: Sequence[Observation], stream: TextIO) -> None:
    """Grouped by subject, in the order in which subjects came first; how many are wrong in the last line."""
    order = {subject: number for number, subject in enumerate(dict.fromkeys(one.subject for one in observations))}
    for subject, group in groupby(sorted(observations, key=lambda one: order[one.subject]), lambda one: one.subject):
        stream.write(f"{printable(subject)}\n")
        for one in group:
            stream.write(f"  {_SIGNS[one.state]:<5}  {printable(one.looked_at)}: {printable(one.found)}\n")
            if one.remedy:
                stream.write(f"{_INDENT}-> {printable(one.remedy)}\n")
            for line in one.lines:
                stream.write(f"{_INDENT}   {printable(line)}\n")
    bad = sum(one.state == "wrong" for one in observations)
    stream.write(
        f"{bad} of {len(observations)} are wrong\n" if bad else f"all {len(observations)} are as they must be\n"
    )
