"""How a run is told, whoever tells it: marks, words and sentences for states, outcomes and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.summary import NodeState, NodeSummary, RunSummary
from runner.units import counted


@dataclass(frozen=True)
class Verdict:
    word: str
    tone: NodeState
    """The colour: that of a node in such a state."""
    sentence: str


MARKS: Mapping[NodeState, str] = {
    "done": "✓",
    "kept": "=",
    "unneeded": "○",
    "failed": "✗",
    "stopped": "■",
    "skipped": "–",
    "running": "…",
    "waiting": "·",
}


def word(state: NodeState) -> str:
    return "not needed" if state == "unneeded" else state


@dataclass(frozen=True)
class Fact:
    name: str
    text: str
    exact: bool = False
    """To be read to the letter: an id, a digest."""


def printable(text: str) -> str:
    """`text` without control characters, which names from elsewhere may hold: they would rule a terminal, and XML
    does not allow them."""
    return "".join(
        character if character.isprintable() else " " if character in "\n\r\t" else f"\\x{ord(character):02x}"
        for character in text
    )


def clock(at: datetime) -> str:
    """``2026-11-23 17:00:00``, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def verdict(summary: RunSummary) -> Verdict:
    """The outcome in a word, a colour and a sentence."""
    counts = Counter(node.state for node in summary.nodes)
    total = len(summary.nodes)
    left = total - counts["done"] - counts["kept"] - counts["failed"]
    job = summary.job
    all_nodes = f"the {counted(total, 'node')} of {job}"
    match summary.outcome:
        case "done":
            kept = f"; {counts['kept']} of them stood from before" if counts["kept"] else ""
            if summary.error:
                return Verdict("done", "skipped", f"{job} is done, but {summary.error}.")
            are = "is" if total - left == 1 else "are"
            return Verdict("done", "done", f"Done: {counted(total - left, 'node')} of {job} {are} complete{kept}.")
        case "failed":
            return Verdict(
                "failed", "failed", f"Failed: of {all_nodes}, {counts['failed']} failed and {left} did not run."
            )
        case "unwind-failed":
            nodes = counted(len(summary.undo_failures), "node")
            sentence = f"The work of {job} is done, but {nodes} could not be taken back."
            return Verdict("not cleaned up", "skipped", sentence)
        case "interrupted":
            return Verdict(
                "interrupted",
                "skipped",
                f"Interrupted: of {all_nodes}, {left} {'is' if left == 1 else 'are'} left to do.",
            )
        case "unfinished":
            return Verdict("unfinished", "skipped", f"Unfinished: the run of {job} is still going on, or was killed.")


def failures(summary: RunSummary) -> list[Fact]:
    """Every sentence that says why the run is not what it should be; the nodes' first."""
    found = [Fact(node.node, node.error) for node in summary.nodes if node.error]
    found += [Fact(f"{undo.node} could not be taken back", undo.error) for undo in summary.undo_failures]
    if summary.error and not any(fact.text in summary.error for fact in found):
        found.append(Fact("the run", summary.error))
    return found


def story(node: NodeSummary) -> str:
    parts = [node.why] if node.why else []
    parts += [f"tried again after: {error}" for error in node.retried]
    parts += [node.error] if node.error else []
    if node.undone and node.lifetime != "process":  # that a process ends is not news
        parts.append(f"taken back: {node.undone}")
    return "; ".join(parts)
