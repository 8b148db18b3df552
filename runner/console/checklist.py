"""Observations as a list that a person can work through: one line each, the remedy below what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TextIO

from runner.base.printable import printable
from runner.events.check_results import Observation, State

_SIGNS: Mapping[State, str] = {"good": "ok", "noted": "note", "wrong": "WRONG"}
_COUNTED: Mapping[State, str] = {"good": "ok", "noted": "noted", "wrong": "wrong"}
_INDENT = " " * 9


def print_checklist(observations: Sequence[Observation], stream: TextIO) -> None:
    """Grouped by subject, in the order in which subjects came first; of how many it is so, and of how many
    not, in the last line."""
    order = {
        subject: number for number, subject in enumerate(dict.fromkeys(one.subject for one in observations))
    }
    for subject, group in groupby(
        sorted(observations, key=lambda one: order[one.subject]), lambda one: one.subject
    ):
        stream.write(f"{printable(subject)}\n")
        for one in group:
            stream.write(f"  {_SIGNS[one.state]:<5}  {printable(one.looked_at)}: {printable(one.found)}\n")
            if one.remedy:
                stream.write(f"{_INDENT}-> {printable(one.remedy)}\n")
            for line in one.lines:
                stream.write(f"{_INDENT}   {printable(line)}\n")
    counts = Counter(one.state for one in observations)
    told = [f"{counts[state]} {word}" for state, word in _COUNTED.items() if counts[state]]
    stream.write(f"{len(observations)} looked at: {', '.join(told)}\n")
