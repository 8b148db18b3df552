"""Shows many jobs that run at once: on a terminal a line for each that runs and the totals below, elsewhere a
line when one begins or ends and the totals every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, Self, TextIO

from runner.base.printable import printable
from runner.base.units import human_bytes, human_seconds
from runner.console.display import UntilClosed
from runner.console.listener import INTERVAL
from runner.console.plain import Level
from runner.console.screen import can_redraw
from runner.console.several_live import SeveralLive
from runner.events.outcomes import ENDINGS, JobOutcome
from runner.events.progress import Totals, Waiting
from runner.events.several import Causes


class Face(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""

    def tick(self, totals: Totals, at: float) -> None:
        """Something happened; `totals` may be told."""


class SeveralConsole:
    """A context manager, so that a terminal is never left as the display had it. Safe from any thread. Once
    nobody reads the stream (a closed pipe) it is silent."""

    def __init__(
        self,
        noun: str,
        waiting: Mapping[str, Waiting],
        names: Mapping[str, str],
        *,
        stream: TextIO | None = None,
        level: Level = "normal",
        interval: float = INTERVAL,
    ) -> None:
        """`names`: for people, by key."""
        self._stream = sys.stderr if stream is None else stream
        self._names = names
        self._level = level
        self._show = UntilClosed()
        self.warnings = Causes()
        """Of all, by what they say but for the name."""
        # rich draws from a thread of its own.
        self._lock = threading.RLock()
        self._totals = Totals(noun, time.monotonic(), dict(waiting))
        self._is_live = can_redraw(self._stream) and level == "normal"
        self._face: Face = (
            SeveralLive(self._stream, self._totals, names, self._lock)
            if self._is_live
            else _Lines(self._stream, interval, quiet=level == "quiet")
        )

    def __enter__(self) -> Self:
        self._show(self._face.start)
        return self

    def __exit__(self, *_: object) -> None:
        self._show(self._face.stop)

    def note(self, text: str) -> None:
        """That somebody should know, of no one of them."""
        self._say(f"! {text}", "yellow")

    def waits(self, what: str) -> None:
        """What the next one waits for; empty: a place to run."""
        with self._lock:
            self._totals.waits_for = what
            self._show(lambda: self._face.tick(self._totals, time.monotonic()))

    def started(self, key: str) -> None:
        with self._lock:
            self._totals.start(key, time.monotonic())
            if not self._is_live and self._level != "quiet":
                self._say(f"{self._names[key]}  starts")

    def told(self, key: str, event: Mapping[str, Any]) -> None:
        with self._lock:
            at = time.monotonic()
            if (one := self._totals.running.get(key)) is not None:
                one.add(event, at)
            if event.get("type") == "warned":
                self._warned(self._names[key], f"{event['node']}: {event['text']}")
            elif self._level == "verbose" and event.get("type") != "node-progress":
                self._say(f"{self._names[key]}  {_in_words(event)}")
            self._show(lambda: self._face.tick(self._totals, at))

    def _warned(self, name: str, text: str) -> None:
        """The same is said of the first one; how many there were, the last lines say."""
        if self.warnings.add(text, name) == 1 or self._level == "verbose":
            self._say(f"! {name}  {text}", "yellow")

    def said(self, key: str, line: str) -> None:
        """On the standard error of its process: what went wrong there. Without a key, of where all run."""
        if line.strip():
            self._say(f"{self._names[key]}  {line}" if key else f"! {line}", "" if key else "yellow")

    def again(self, key: str, why: str) -> None:
        with self._lock:
            self._totals.again(key)
            self._say(f"{self._names[key]}  waits again: {why}", "yellow")

    def ended(self, key: str, outcome: JobOutcome, what: str, seconds: float | None = None) -> None:
        """`seconds`: that its run took."""
        ending = ENDINGS[outcome]
        is_done = ending.exit_codes == (0,)
        with self._lock:
            self._totals.end(key, is_done=is_done)
            # On a terminal those that are done are counted: their lines would scroll away what is not.
            if not is_done or not (self._is_live or self._level == "quiet"):
                # What came of a run without results begins with its outcome.
                what = what.removeprefix(f"{ending.word.capitalize()}: ")
                took = human_seconds(seconds) if is_done and seconds else ""
                told = ": ".join(filter(None, (ending.word, ", ".join(filter(None, (what, took))))))
                self._say(f"{ending.mark} {self._names[key]}  {told}", ending.colour)
            self._show(lambda: self._face.tick(self._totals, time.monotonic()))

    def _say(self, text: str, style: str = "") -> None:
        with self._lock:
            self._show(lambda: self._face.say(text, style))


def in_numbers(totals: Totals, at: float) -> str:
    """``612 done, 3 failed, 8 running, 377 waiting; 1.2 TiB copied, 412.0 MiB/s, 2 h 10 min left``"""
    counts = {
        "done": totals.done,
        "failed": totals.failed,
        "running": len(totals.running),
        "waiting": len(totals.waiting),
    }
    told = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    moved = f"{human_bytes(totals.copied)} copied, {human_bytes(totals.speed(at))}/s"
    waits = f"the next waits for {totals.waits_for}" if totals.waits_for else ""
    return ", ".join(filter(None, (f"{told}; {moved}", totals.eta(at), waits)))


def _in_words(event: Mapping[str, Any]) -> str:
    """``node-failed transfer[2000] (no room)``"""
    told = " ".join(str(event[name]) for name in ("type", "node") if name in event)
    why = event.get("error") or event.get("why") or event.get("because") or ""
    return f"{told} ({why})" if why else told


class _Lines:
    def __init__(self, stream: TextIO, interval: float, *, quiet: bool) -> None:
        self._stream = stream
        self._interval = interval
        self._quiet = quiet
        self._told = 0.0

    def start(self) -> None:
        self._told = time.monotonic()

    def stop(self) -> None:
        return None

    def say(self, text: str, style: str = "") -> None:
        self._stream.write(f"{datetime.now(UTC):%H:%M:%S}  {printable(text)}\n")
        self._stream.flush()

    def tick(self, totals: Totals, at: float) -> None:
        if not self._quiet and at - self._told >= self._interval:
            self._told = at
            self.say(in_numbers(totals, at))
