"""The face of many jobs for a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from runner.base.printable import printable
from runner.base.units import human_bytes, human_seconds
from runner.console.display import Display
from runner.console.screen import Screen
from runner.events.outcomes import COLOURS
from runner.events.progress import Running, Totals

FRAMES_PER_SECOND = 4
"""Sixty lines of numbers that change faster cannot be read."""

BESIDE = 4
"""Lines below those that run: the totals, what the next one waits for, and room for the cursor."""

WIDEST_NAME = 32
NARROW = 100
"""Columns; below it a line does without the share."""

ETA_EVERY = 2.0
"""Seconds: it is a sum over all that wait."""


class SeveralLive:
    def __init__(
        self, stream: TextIO, totals: Totals, names: Mapping[str, str], lock: threading.RLock
    ) -> None:
        self._totals = totals
        self._names = names
        self._lock = lock
        self._console = Screen(stream)
        self._eta = ("", -ETA_EVERY)
        self._display = Display(self, self._console, FRAMES_PER_SECOND, takes_errors=False)

    def start(self) -> None:
        self._display.start()

    def stop(self) -> None:
        self._display.stop()

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=True)

    def tick(self, totals: Totals, at: float) -> None:
        return None

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            yield self.frame(time.monotonic(), options.max_width, options.size.height)

    def frame(self, at: float, width: int, height: int) -> RenderableType:
        """The whole picture, in at most `height` lines."""
        running = list(self._totals.running.items())
        room = max(1, height - BESIDE)
        shown = running if len(running) <= room else running[: room - 1]
        lines: list[RenderableType] = [self._lines(shown, at, width)] if shown else []
        if left := len(running) - len(shown):
            speed = sum(one.speed(at) for _, one in running[len(shown) :])
            lines.append(Text(f"  and {left} more, {human_bytes(speed)}/s", style="dim"))
        return Group(*lines, *self._foot(at))

    def _lines(self, shown: list[tuple[str, Running]], at: float, width: int) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        name = min(WIDEST_NAME, max(12, width - 62), max(cell_len(self._names[key]) for key, _ in shown))
        table.add_column(width=name, no_wrap=True)
        table.add_column(width=12, no_wrap=True, overflow="ellipsis")
        # Of fixed width: columns that move with each number cannot be read.
        table.add_column(width=22, no_wrap=True, justify="right")
        if width >= NARROW:
            table.add_column(width=5, no_wrap=True, justify="right")
        table.add_column(width=12, no_wrap=True, justify="right")
        table.add_column(width=10, no_wrap=True, justify="right")
        for key, one in shown:
            cells: list[RenderableType] = [
                Text(_cut(printable(self._names[key]), name), style="bold"),
                Text(printable(one.what), style="dim"),
                _amount(one),
                *([_share(one)] if width >= NARROW else []),
                f"{human_bytes(one.speed(at))}/s" if one.done is not None else "",
                Text(human_seconds(at - one.began), style="dim"),
            ]
            table.add_row(*cells)
        return table

    def _foot(self, at: float) -> list[RenderableType]:
        totals = self._totals
        if at - self._eta[1] >= ETA_EVERY:
            self._eta = (totals.eta(at), at)
        counts = Text()
        for word, count, colour in (
            ("done", totals.done, COLOURS["done"]),
            ("failed", totals.failed, COLOURS["failed"]),
            ("running", len(totals.running), "cyan"),
            ("waiting", len(totals.waiting), COLOURS["waiting"]),
        ):
            if count or word == "done":
                counts.append(f"{count:,} {word}  ", style=colour if count else "dim")
        counts.append(f"of {totals.count:,}", style="dim")
        moved = f"{human_bytes(totals.copied)} copied, {human_bytes(totals.speed(at))}/s"
        below = ", ".join(filter(None, (moved, human_seconds(at - totals.began), self._eta[0])))
        lines: list[RenderableType] = [counts, Text(below, no_wrap=True, overflow="ellipsis")]
        if totals.waits_for:
            waits = f"the next waits for {totals.waits_for}"
            lines.append(Text(printable(waits), style="dim", no_wrap=True, overflow="ellipsis"))
        return lines


def _cut(name: str, width: int) -> str:
    """The end of a name tells VMs apart more often than its middle."""
    if cell_len(name) <= width:
        return name
    tail = name[-(width // 2) :]
    return set_cell_size(name, width - 1 - cell_len(tail)) + "…" + tail


def _amount(one: Running) -> str:
    if one.done is None:
        return ""
    if one.total is None:
        return human_bytes(one.done)
    return f"{human_bytes(min(one.done, one.total))} of {human_bytes(one.total)}"


def _share(one: Running) -> str:
    if one.done is None or not one.total:
        return ""
    return f"{min(100, one.done * 100 // one.total)} %"
