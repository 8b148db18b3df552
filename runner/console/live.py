"""The face for a terminal: the steps in order with their marks, a bar for whatever moves bytes, warnings
below."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from runner.base.printable import printable
from runner.base.units import amount, human_bytes, human_seconds
from runner.console.display import Display
from runner.console.final_summary import print_troubles
from runner.console.screen import Screen
from runner.events.events import Event, NodeRetrying, NodeStarted, Warned
from runner.events.flow import Flow
from runner.events.fold import Fold
from runner.events.outcomes import NODES, NodeState
from runner.events.summary import NodeSummary

FRAMES_PER_SECOND = 8
WARNINGS = 3  # lines kept for the latest of them; the ending shows all
NARROW = 90  # columns; below it a bar does without the bytes
WORST_FIRST: tuple[NodeState, ...] = ("failed", "stopped", "running", "skipped", "waiting", "kept", "done")


class LiveFace:
    def __init__(self, stream: TextIO, fold: Fold, lock: threading.RLock) -> None:
        self._stream = stream
        self._fold = fold
        self._lock = lock
        self._retries: dict[str, NodeRetrying] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._console = Screen(stream)
        self._display = Display(self, self._console, FRAMES_PER_SECOND, takes_errors=True)

    def start(self) -> None:
        self._display.start()

    def stop(self, *, ended: bool) -> None:
        if not self._display.is_started:
            return
        self._display.stop()
        if not ended:
            print_troubles(self._fold, self._stream)

    def tell(self, event: Event) -> None:
        if isinstance(event, NodeRetrying):
            self._retries[event.node] = event
        elif isinstance(event, NodeStarted):
            self._retries.pop(event.node, None)
        elif isinstance(event, Warned) and self._fold.finished is not None:
            self._stream.write(f"! {printable(f'{event.node}: {event.text}')}\n")

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            yield self.frame(datetime.now(UTC), options.max_width, options.size.height)

    def frame(self, now: datetime, width: int, height: int) -> RenderableType:
        """The whole picture at `now`, in at most `height` lines."""
        head = self._head(now)
        foot = self._foot()
        room = height - len(head) - len(foot) - 1
        groups = _groups(self._fold.nodes.values())
        bars = {step: self._moving(nodes) for step, nodes in groups.items()}
        moving = sum(len(flows) for flows in bars.values())
        if len(groups) + moving > room:
            body = self._short_body(groups, bars, now, width, room)
        else:
            body = [
                line
                for step, nodes in groups.items()
                for line in self._step(step, nodes, bars[step], now, width)
            ]
        return Group(*head, *body, *foot)

    def _head(self, now: datetime) -> list[RenderableType]:
        started = self._fold.started
        if started is None:
            return [Text("…", style="dim")]
        line = Table.grid(expand=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        title = Text.assemble((printable(started.job), "bold"), (f"  run {started.run}", "dim"))
        if started.resumed:
            title.append("  resumed", style="blue")
        line.add_row(title, Text(human_seconds((now - started.at).total_seconds()), style="dim"))
        return [line]

    def _foot(self) -> list[RenderableType]:
        warnings = self._fold.warnings
        lines = [_line(f" ! {warning.node}: {warning.text}", "yellow") for warning in warnings[-WARNINGS:]]
        if len(warnings) > WARNINGS:
            lines.insert(0, _line(f" ! {len(warnings) - WARNINGS} earlier warnings", "yellow"))
        return list(lines)

    def _moving(self, nodes: Iterable[NodeSummary]) -> list[Flow]:
        """The work of the nodes that run now, each with its latest phase."""
        running = {node.node for node in nodes if node.state == "running"}
        latest = {flow.latest.node: flow for flow in self._fold.flows.values() if flow.latest.node in running}
        return list(latest.values())

    def _step(
        self, step: str, nodes: list[NodeSummary], flows: list[Flow], now: datetime, width: int
    ) -> Iterable[RenderableType]:
        state = _state_of(nodes)
        line = Table.grid(padding=(0, 1))
        line.add_column(width=2, justify="right")
        line.add_column(min_width=12, no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        mark: RenderableType = (
            self._spinner if state == "running" else Text(NODES[state].mark, style=NODES[state].colour)
        )
        name = Text(printable(step), style="dim" if state in ("waiting", "skipped") else "")
        line.add_row(
            mark, name, Text(printable(_detail(nodes, state)), style="red" if state == "failed" else "dim")
        )
        yield line
        for flow in flows:
            yield self._bar(flow, now, width)

    def _bar(self, flow: Flow, now: datetime, width: int) -> RenderableType:
        latest = flow.latest
        retry = self._retries.get(latest.node)
        if retry is not None:
            wait = (retry.at + timedelta(seconds=retry.wait) - now).total_seconds()
            again = f"retrying in {human_seconds(wait)}" if wait > 0 else "retrying"
            return _line(f"     {latest.label}  {again}: {retry.error}", "yellow")
        speed, left = flow.speed(now), flow.seconds_left(now)
        if flow.percent == 100:  # it only waits for its end: the speed of all of it
            speed, left = flow.summary().speed, None
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=4)
        line.add_column(no_wrap=True, min_width=10)
        line.add_column(ratio=1)
        cells: list[RenderableType] = ["", Text(printable(latest.label)), _progress_bar(flow)]
        numbers: tuple[tuple[str, int], ...] = (
            ("?" if flow.percent is None else f"{flow.percent} %", 5),
            (_amount(flow), 0 if width < NARROW else 23),
            ("" if speed is None else f"{human_bytes(speed)}/s read", 17),
            ("" if left is None else f"{human_seconds(left)} left", 17),
        )
        if flow.is_wait:
            numbers = ((_amount(flow), 23),)
        for text, wide in (*numbers, (latest.phase, 0 if width < NARROW else 7)):
            # Of fixed width: columns that move with each number cannot be read.
            if wide:
                line.add_column(width=wide, no_wrap=True, justify="left" if text == latest.phase else "right")
                cells.append(Text(printable(text), style="dim" if text == latest.phase else ""))
        line.add_row(*cells)
        return line

    def _short_body(
        self,
        groups: dict[str, list[NodeSummary]],
        bars: dict[str, list[Flow]],
        now: datetime,
        width: int,
        room: int,
    ) -> list[RenderableType]:
        """What is over and what is to come in a line each; of the bars as many as there is room for."""
        now_on = {
            step: nodes
            for step, nodes in groups.items()
            if _state_of(nodes) in ("running", "failed", "stopped")
        }
        over = [step for step, nodes in groups.items() if _state_of(nodes) in ("done", "kept", "skipped")]
        coming = [step for step, nodes in groups.items() if _state_of(nodes) == "waiting"]
        room -= len(now_on) + bool(over) + bool(coming)
        lines: list[RenderableType] = (
            [_line(f" {NODES['done'].mark} {', '.join(over)}", "dim")] if over else []
        )
        for step, nodes in now_on.items():
            # Those that only wait for their end give way first.
            flows = sorted(bars[step], key=lambda flow: flow.percent == 100)
            shown = flows if len(flows) <= room else flows[: max(0, room - 1)]
            lines += self._step(step, nodes, shown, now, width)
            if len(shown) < len(flows):
                lines.append(_line(f"     and {_together(flows[len(shown) :], now)}", "dim"))
            room -= min(len(flows), max(room, 0))
        return [*lines, _line(f" {NODES['waiting'].mark} {', '.join(coming)}", "dim")] if coming else lines


def _groups(nodes: Iterable[NodeSummary]) -> dict[str, list[NodeSummary]]:
    """By step, in the order of the graph."""
    groups: dict[str, list[NodeSummary]] = {}
    for node in nodes:
        groups.setdefault(node.node.partition("[")[0], []).append(node)
    return groups


def _state_of(nodes: list[NodeSummary]) -> NodeState:
    state = min((node.state for node in nodes), key=WORST_FIRST.index)
    begun = any(node.state in ("done", "kept") for node in nodes)
    return "running" if state == "waiting" and begun else state


def _detail(nodes: list[NodeSummary], state: NodeState) -> str:
    if state == "failed":
        return "; ".join(f"{node.node}: {node.error}" for node in nodes if node.state == "failed")
    if len(nodes) > 1:
        if state == "waiting":
            return f"× {len(nodes)}"
        finished = sum(node.state in ("done", "kept") for node in nodes)
        return f"{finished} of {len(nodes)}" + (", open" if _is_open(nodes) else "")
    (node,) = nodes
    if state == "done":
        return "open" if _is_open(nodes) else "" if node.seconds is None else human_seconds(node.seconds)
    return node.why if state in ("kept", "skipped") else ""


def _is_open(nodes: list[NodeSummary]) -> bool:
    return any(node.lifetime == "process" and node.state == "done" and node.undone is None for node in nodes)


def _progress_bar(flow: Flow) -> ProgressBar:
    latest = flow.latest
    if latest.total is None:
        return ProgressBar(total=None, pulse=True)
    return ProgressBar(
        total=max(latest.total, 1), completed=min(latest.done, latest.total) if latest.total else 1
    )


def _amount(flow: Flow) -> str:
    latest = flow.latest
    if latest.total is None:
        return f"{amount(latest.done, latest.noun)} of ?"
    return f"{amount(min(latest.done, latest.total), latest.noun)} of {amount(latest.total, latest.noun)}"


def _together(flows: list[Flow], now: datetime) -> str:
    done = sum(flow.latest.done for flow in flows)
    speed = sum(flow.speed(now) or 0 for flow in flows)
    return f"{len(flows)} more: {human_bytes(done)}, {human_bytes(speed)}/s read"


def _line(text: str, style: str) -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")
