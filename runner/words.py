"""How a run is told, whoever tells it: the sentences; words, symbols and colours are `runner.outcomes`'."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.outcomes import ENDINGS, Ending
from runner.summary import NodeSummary, RunSummary
from runner.units import counted


@dataclass(frozen=True)
class Verdict:
    ending: Ending
    sentence: str

    @property
    def word(self) -> str:
        return self.ending.word


@dataclass(frozen=True)
class Fact:
    name: str
    text: str
    exact: bool = False
    """To be read to the letter: an id, a digest."""


def clock(at: datetime) -> str:
    """``2026-11-23 17:00:00``, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def verdict(summary: RunSummary) -> Verdict:
    """The outcome, and a sentence of it."""
    return Verdict(ENDINGS[summary.outcome], _sentence(summary))


def _sentence(summary: RunSummary) -> str:
    counts = Counter(node.state for node in summary.nodes)
    total = len(summary.nodes)
    complete = counts["done"] + counts["alarm"] + counts["kept"]
    left = total - complete - counts["failed"]
    job = summary.job
    all_nodes = f"the {counted(total, 'node')} of {job}"
    match summary.outcome:
        case "done":
            kept = f"; {counts['kept']} of them were completed earlier" if counts["kept"] else ""
            are = "is" if complete == 1 else "are"
            return f"Done: {counted(complete, 'node')} of {job} {are} complete{kept}."
        case "alarm":
            return f"Alarm: {job} is done, but {summary.error or 'it found what somebody must look at'}."
        case "failed":
            return f"Failed: of {all_nodes}, {counts['failed']} failed and {left} did not run."
        case "unwind-failed":
            nodes = counted(len(summary.undo_failures), "node")
            return f"The work of {job} is done, but the cleanup of {nodes} failed."
        case "interrupted":
            return f"Interrupted: of {all_nodes}, {left} {'is' if left == 1 else 'are'} left to do."
        case "unfinished":
            return f"Unfinished: the run of {job} is still going on, or was killed."


def failures(summary: RunSummary) -> list[Fact]:
    """Every sentence that says why the run is not what it should be; the nodes' first."""
    found = [Fact(node.node, why) for node in summary.nodes for why in (node.error, node.alarm) if why]
    found += [Fact(f"cleanup of {undo.node} failed", undo.error) for undo in summary.undo_failures]
    if summary.error and not any(fact.text in summary.error for fact in found):
        found.append(Fact("the run", summary.error))
    return found


def story(node: NodeSummary) -> str:
    parts = [node.why] if node.why else []
    parts += [f"tried again after: {error}" for error in node.retried]
    parts += [why for why in (node.error, node.alarm) if why]
    if node.undone and node.lifetime != "process":  # that a process ends is not news
        parts.append(f"taken back: {node.undone}")
    return "; ".join(parts)
