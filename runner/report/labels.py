"""How a run is described everywhere: the sentences; words, symbols and colours are
`runner.events.outcomes`'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.units import counted, human_seconds
from runner.events.outcomes import DONE_WITH_WARNING, ENDINGS, NODES, Ending, NodeState
from runner.events.result import in_a_line
from runner.events.step_report import Alarm
from runner.events.summary import NodeSummary, RunSummary


@dataclass(frozen=True)
class Verdict:
    ending: Ending
    line: str
    """The outcome in one line."""

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
    ending = ENDINGS[summary.outcome]
    if summary.outcome == "done" and any(result.warns for result in summary.results):
        ending = DONE_WITH_WARNING
    said = _sentence(summary)
    return Verdict(ending, f"{ending.word[0].upper()}{ending.word[1:]}: {said}{_what_to_do(summary)}")


def _sentence(summary: RunSummary) -> str:
    """With the results and the time that they took; where nothing came of it, with the nodes."""
    took = human_seconds(summary.seconds)
    result = in_a_line(summary.results, summary.seconds) if summary.results else None
    counts = Counter(node.state for node in summary.nodes)
    complete = counts["done"] + counts["alarm"] + counts["kept"]
    match summary.outcome:
        case "done":
            kept = f", {counts['kept']} of them completed earlier" if counts["kept"] else ""
            return result or f"{summary.job}, {counted(complete, 'node')}{kept}, {took}"
        case "alarm":
            return ", ".join((result or f"{summary.job}, {took}", *_in_brief(summary.alarms)))
    left = len(summary.nodes) - complete - counts["failed"] - counts["unneeded"]
    parts = [summary.job, took]
    failed = [node.node for node in summary.nodes if node.state == "failed"]
    parts += [f"{named(failed)} failed"] if failed else []
    parts += [f"{left} of {counted(len(summary.nodes), 'node')} did not run"] if left else []
    undone = [undo.node for undo in summary.undo_failures]
    parts += [f"cleanup of {named(undone)} failed"] if undone else []
    return ", ".join(parts) + (f"; done: {result}" if result else "")


def _in_brief(alarms: Sequence[Alarm]) -> Iterator[str]:
    """Each thing once, and subjects of several alarms together: two disks may distrust the same point."""
    for brief, noun in dict.fromkeys((alarm.brief, alarm.noun) for alarm in alarms):
        subjects = {
            one for alarm in alarms if (alarm.brief, alarm.noun) == (brief, noun) for one in alarm.subjects
        }
        yield f"{counted(len(subjects), noun)} {brief}" if subjects else brief


MOST_NAMED = 3


def named(nodes: Sequence[str]) -> str:
    """``discover``, ``a, b, c``, ``a and 12 more``"""
    return ", ".join(nodes) if len(nodes) <= MOST_NAMED else f"{nodes[0]} and {len(nodes) - 1} more"


def _what_to_do(summary: RunSummary) -> str:
    if summary.resume_command is None:
        return ""
    if must_fix_first(summary):
        return f"; fix that first, then: {summary.resume_command}"
    return f"; to resume: {summary.resume_command}"


def must_fix_first(summary: RunSummary) -> bool:
    """Whether running it again cannot help before somebody has changed something, which the failures say."""
    return any(node.fix_first for node in summary.nodes if node.state == "failed")


_DID_NOT_RUN: tuple[NodeState, ...] = ("skipped", "unneeded", "waiting")


def in_lines(nodes: Sequence[NodeSummary]) -> list[list[NodeSummary]]:
    """The nodes line by line: those that did not run, for the same reason, are one."""
    lines: dict[object, list[NodeSummary]] = {}
    for node in nodes:
        key = (node.state, node.why) if node.state in _DID_NOT_RUN and not node.undone else node.node
        lines.setdefault(key, []).append(node)
    return list(lines.values())


@dataclass(frozen=True)
class Trouble:
    mark: str
    name: str
    """The nodes whose it is."""
    text: str


def failures(summary: RunSummary, *, told: bool = False) -> list[Trouble]:
    """Every sentence that says why the run is not what it should be, each once; the nodes' first. `told`:
    without the errors of nodes."""
    own = [] if told else [(node.error, node.node) for node in summary.nodes if node.error]
    found = [_trouble("failed", text, nodes) for text, nodes in _by_text(own)]
    found += [_trouble("alarm", node.alarm, [node.node]) for node in summary.nodes if node.alarm]
    if not told:
        undone = [(undo.error, undo.node) for undo in summary.undo_failures]
        found += [_trouble("failed", f"cleanup failed: {text}", nodes) for text, nodes in _by_text(undone)]
    # The engine's own sentence often quotes the node's, which stands above.
    if summary.error and not any(text in summary.error for text in _of_nodes(summary)):
        found.append(_trouble("failed", summary.error, ["the run"]))
    return found


def _of_nodes(summary: RunSummary) -> list[str]:
    texts = [why for node in summary.nodes for why in (node.error, node.alarm) if why]
    return [*texts, *(undo.error for undo in summary.undo_failures)]


def _by_text(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    nodes: dict[str, list[str]] = {}
    for text, node in pairs:
        nodes.setdefault(text, []).append(node)
    return nodes.items()


def _trouble(state: NodeState, text: str, nodes: Sequence[str]) -> Trouble:
    return Trouble(NODES[state].mark, ", ".join(nodes), text)


def story(node: NodeSummary) -> str:
    parts = [node.why] if node.why else []
    parts += [f"retried after: {error}" for error in node.retried]
    parts += [why for why in (node.error, node.alarm) if why]
    if node.undone and node.lifetime != "process":  # that a process ends is not news
        parts.append(f"{'released' if node.lifetime == 'job' else 'rolled back'}: {node.undone}")
    return "; ".join(parts)
