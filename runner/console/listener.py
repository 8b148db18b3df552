"""The listener that a run's bus talks to: it picks the face, and ends it."""

from __future__ import annotations

import sys
import threading
from typing import Protocol, Self, TextIO

from runner.console.display import UntilClosed
from runner.console.final_summary import print_ending
from runner.console.live import LiveFace
from runner.console.plain import Level, PlainFace
from runner.console.screen import can_redraw
from runner.events.events import Event, RunFinished
from runner.events.fold import Fold
from runner.events.step_report import ReportOf
from runner.events.summary import RunSummary

INTERVAL = 5.0  # seconds: often enough to see that it lives, seldom enough for the log of a night


class Face(Protocol):
    def start(self) -> None: ...

    def stop(self, *, ended: bool) -> None:
        """`ended`: others tell how the run ended; else a display that goes leaves its warnings and
        errors behind as lines."""

    def tell(self, event: Event) -> None: ...


class Console:
    """Shows a run on `stream` (standard error): live if that is a terminal that can be drawn on, else as
    lines.

    A context manager, so that a terminal is never left as the display had it. Safe from any thread. Once
    nobody reads the stream (a closed pipe) it is silent: that must not keep the engine from
    unwinding.
    """

    def __init__(
        self,
        report_of: ReportOf,
        *,
        stream: TextIO | None = None,
        level: Level = "normal",
        interval: float = INTERVAL,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._fold = Fold(report_of)
        self._show = UntilClosed()
        # rich draws from a thread of its own, and must not see a fold that an event has half changed.
        self._lock = threading.RLock()
        self._quiet = level == "quiet"
        self._face: Face
        if can_redraw(self._stream) and level == "normal":
            self._face = LiveFace(self._stream, self._fold, self._lock)
        else:
            self._face = PlainFace(self._stream, self._fold, level, interval)

    def __enter__(self) -> Self:
        self._show(self._face.start)
        return self

    def __exit__(self, *_: object) -> None:
        self._show(lambda: self._face.stop(ended=self._fold.finished is not None))

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._fold.add(event)
            self._show(lambda: self._face.tell(event))
        # Outside of the lock: stopping the display waits for the thread that wants it.
        if isinstance(event, RunFinished) and self._fold.started is not None:
            self._show(self._end)

    def summary(self) -> RunSummary:
        """Of the run that was shown. Raises what `Fold.summary` does."""
        with self._lock:
            return self._fold.summary()

    def _end(self) -> None:
        self._face.stop(ended=True)
        told = isinstance(self._face, PlainFace)
        print_ending(self._fold.summary(), self._stream, quiet=self._quiet, told=told)
