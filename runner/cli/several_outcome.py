"""What came of the children of sets, and of jobs that ran at once: for people, and for programs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from runner.app.gone import Gone
from runner.app.open_set import OpenSet
from runner.base.errors import SendenseError
from runner.base.units import human_bytes, human_seconds
from runner.cli.job_results import Ended
from runner.console.tables import print_table
from runner.events.several import Causes, headline

Unread = tuple[Path, SendenseError]
"""A file that is no job, and why."""


@dataclass
class Several:
    """What came of all. `ended`: of each job and child, and of each set that could not be opened; `codes`:
    their exit codes."""

    count: int = 0
    """Of those that were to run."""
    noun: str = "job"
    ended: list[Ended] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    sets: list[dict[str, JsonValue]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Of the sets themselves; those of their children are in `ended`."""
    causes: Causes = field(default_factory=Causes)
    common: Causes = field(default_factory=Causes)
    """Warnings of children, which many may have."""
    copied: int = 0
    began: float = field(default_factory=time.monotonic)

    def document(self) -> dict[str, JsonValue]:
        told: dict[str, JsonValue] = {"runs": [one.document() for one in self.ended]}
        of_sets: dict[str, JsonValue] = {"sets": list(self.sets), "warnings": list(self.warnings)}
        return told | (of_sets if self.sets else {})

    def print_outcome(self, again: str, stream: TextIO) -> None:
        """Why some are not done, by cause, and in the last line what came of all. `again`: the command line
        that runs what is left."""
        rows = [(cause.counted(self.noun), cause.why, cause.which) for cause in reversed(self.causes.found)]
        if known := [one for one in self.common.found if len(one.names) > 1]:
            stream.write("\n")
            warned = [(one.counted(self.noun), one.why, one.which) for one in known]
            print_table("Warnings", ("", "what", "which"), warned, stream=stream)
        if rows:
            stream.write("\n")
            print_table("Not done", ("", "why", "which"), rows, stream=stream)
        done = self.codes.count(0)
        is_done = done == self.count and not self.causes.found
        what = headline(done, self.count, self.noun)
        parts = [what, f"{done:,} done" if 0 < done < self.count else ""]
        left = self.count - len(self.ended)
        parts += [f"{left:,} not started" if left > 0 else ""]
        parts += [f"{human_bytes(self.copied)} copied", human_seconds(time.monotonic() - self.began)]
        line = ", ".join(filter(None, parts)) + (f"; to resume: {again}" if again and not is_done else "")
        stream.write(f"{'✓' if is_done else '✗'} {line}\n")


def document_of_set(one: OpenSet) -> dict[str, JsonValue]:
    """For `run --json`."""
    found = one.selected
    assert found is not None, "an open set has chosen"
    unread: list[JsonValue] = [
        {"name": each.item.name, "path": each.item.path, "why": each.why} for each in found.items.unread
    ]
    return {
        "file": one.job.file,
        "set": one.job.name,
        "chosen": len(found.items.chosen),
        "run": len(found.wanted),
        "unread": unread,
        "gone": [_document_of_gone(gone) for gone in one.gone],
    }


def _document_of_gone(gone: Gone) -> dict[str, JsonValue]:
    return {
        "item": gone.item.id,
        "name": gone.item.name,
        "why": gone.why,
        "released": list(gone.released),
        "held": [what for what, _ in gone.holds],
        "error": None if gone.error is None else str(gone.error),
    }
