"""The face for logs: a line for each event worth telling, and one every few seconds for work in progress."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TextIO

from runner.base.printable import printable
from runner.base.units import amount, human_bytes, human_seconds
from runner.events.events import (
    Event,
    GraphKnown,
    NodeFailed,
    NodeFinished,
    NodeKept,
    NodeProgress,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeUndone,
    RunFinished,
    RunStarted,
    UndoFailed,
    Warned,
)
from runner.events.flow import Flow
from runner.events.fold import Fold
from runner.report.labels import clock, named

Level = Literal["quiet", "normal", "verbose"]

QUIET = (NodeFailed, UndoFailed, Warned)
VERBOSE = (NodeStarted, GraphKnown)

UNDONE = {"process": "closed", "job": "released"}
"""What became of a node that is undone, by its lifetime."""


class PlainFace:
    """`interval`: seconds between two lines about the same work, by the events' own clocks."""

    def __init__(self, stream: TextIO, fold: Fold, level: Level, interval: float) -> None:
        self._stream = stream
        self._fold = fold
        self._level = level
        self._interval = interval
        self._told: dict[tuple[str, str, str], datetime] = {}
        self._skipped: dict[str, list[str]] = {}
        """Nodes that were skipped and are not told yet, by the reason: one line for all of them."""

    def start(self) -> None:
        return None

    def stop(self, *, ended: bool) -> None:
        return None

    def tell(self, event: Event) -> None:
        if self._level == "quiet" and not isinstance(event, QUIET):
            return
        if isinstance(event, NodeSkipped) and self._level != "verbose":
            self._skipped.setdefault(event.because, []).append(event.node)
            return
        closing = isinstance(event, NodeUndone) and event.lifetime == "process"
        if self._level != "verbose" and (closing or isinstance(event, VERBOSE)):
            return
        # What one failure skips comes in a row: the next line of anything else ends it.
        text = self._text(event)
        if text is not None or isinstance(event, RunFinished):
            for because, nodes in self._skipped.items():
                self._write(event, f"{named(nodes)}  skipped: {because}")
            self._skipped.clear()
        if text is not None:
            self._write(event, text)

    def _write(self, event: Event, text: str) -> None:
        self._stream.write(f"{event.at.astimezone(UTC):%H:%M:%S}  {printable(text)}\n")
        self._stream.flush()

    def _text(self, event: Event) -> str | None:
        match event:
            case RunStarted():
                how = "resumes" if event.resumed else "starts"
                return f"{event.job} {how} run {event.run} ({clock(event.at)} UTC)"
            case GraphKnown():
                return f"{len(event.nodes)} nodes"
            case NodeKept():
                return f"{event.node}  reused: {event.why}"
            case NodeStarted():
                return f"{event.node}  starts: {event.why}"
            case NodeProgress():
                return self._progress(event)
            case NodeRetrying():
                return f"{event.node}  failed, retrying in {human_seconds(event.wait)}: {event.error}"
            case NodeFinished():
                opened = self._fold.nodes[event.node].lifetime == "process"
                return f"{event.node}  {'open' if opened else 'done'} after {human_seconds(event.seconds)}"
            case NodeFailed():
                return f"{event.node}  FAILED after {human_seconds(event.seconds)}: {event.error}"
            case NodeSkipped():
                return f"{event.node}  skipped: {event.because}"
            case NodeUndone():
                return f"{event.node}  {UNDONE.get(event.lifetime, 'rolled back')}: {event.why}"
            case UndoFailed():
                return f"{event.node}  CLEANUP FAILED: {event.error}"
            case Warned():
                return f"{event.node}  warning: {event.text}"
        return None

    def _progress(self, event: NodeProgress) -> str | None:
        key = (event.node, event.label, event.phase)
        # The first says nothing yet (0 %), so it only starts the clock.
        last = self._told.setdefault(key, event.at)
        if (event.at - last).total_seconds() < self._interval:
            return None
        self._told[key] = event.at
        return f"{event.node}  {event.label}: {event.phase} {describe(self._fold.flows[key], event.at)}"


def describe(flow: Flow, now: datetime) -> str:
    """``61 %, 24.4 GiB of 40.0 GiB, 240.1 MiB/s read, 1 min 05 s left``."""
    latest = flow.latest
    if latest.total is None:
        parts = [f"{amount(latest.done, latest.noun)} of an unknown size"]
    elif flow.is_wait:
        parts = [f"{amount(latest.done, latest.noun)} of at most {amount(latest.total, latest.noun)}"]
    else:
        done = min(latest.done, latest.total)
        parts = [f"{flow.percent} %", f"{amount(done, latest.noun)} of {amount(latest.total, latest.noun)}"]
    speed, left = flow.speed(now), flow.seconds_left(now)
    if speed is not None:
        parts.append(f"{human_bytes(speed)}/s read")
    if left is not None:
        parts.append(f"{human_seconds(left)} left")
    return ", ".join(parts)
