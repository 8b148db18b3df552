"""How far many jobs at once are: one of them that runs, by its events as JSON, and all together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.base.units import counted, human_seconds

WINDOW = 10.0
"""Seconds that a speed of now is measured over."""


class Running:
    """One job that runs. Times are seconds of one clock that counts on."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.what = "starting"
        """A step, or the phase of its work."""
        self._phase = ""
        self._first = ""
        """The phase that bytes come in first: the copy. What is read back later are the same bytes."""
        self._flows: dict[str, dict[tuple[str, str], _Flow]] = {}
        """By phase."""
        self._samples: deque[tuple[float, int]] = deque([(began, 0)])

    def add(self, event: Mapping[str, Any], at: float) -> None:
        match event.get("type"):
            case "node-progress":
                self._progress(event, at)
            case "node-started" if event.get("lifetime") != "process":
                self.what, self._phase = event["node"].partition("[")[0], ""
            case "node-retrying":
                self.what = f"retrying {event['node']}"

    def _progress(self, event: Mapping[str, Any], at: float) -> None:
        self.what = self._phase = phase = event["phase"]
        if event.get("noun", "bytes") != "bytes":
            return
        self._first = self._first or phase
        flow = _Flow(event["done"], event["total"], _moved(event))
        self._flows.setdefault(phase, {})[event["node"], event["label"]] = flow
        self._samples.append((at, self._moved_in_all()))
        while len(self._samples) > 2 and self._samples[1][0] <= at - WINDOW:
            self._samples.popleft()

    def _moved_in_all(self) -> int:
        return sum(flow.moved for flows in self._flows.values() for flow in flows.values())

    @property
    def done(self) -> int | None:
        """Bytes of what it does now; None where it is no bytes."""
        flows = self._flows.get(self._phase)
        return None if flows is None else sum(flow.done for flow in flows.values())

    @property
    def total(self) -> int | None:
        """Of `done`; None where that is not known."""
        return _total(self._flows.get(self._phase, {}).values())

    def speed(self, at: float) -> float:
        """Bytes a second that were read in the last seconds; a stall brings it to 0."""
        older = (sample for sample in reversed(self._samples) if sample[0] <= at - WINDOW)
        began, before = next(older, self._samples[0])
        return max(0, self._samples[-1][1] - before) / max(at - began, 1.0)

    @property
    def copied(self) -> int:
        """Bytes that were read for the copy."""
        return sum(flow.moved for flow in self._flows.get(self._first, {}).values())

    def left(self, expected: int | None) -> int | None:
        """Bytes of the copy that are still to come, as far as that can be told. `expected`: in all."""
        flows = self._flows.get(self._first, {}).values()
        total = _total(flows)
        if total is not None:
            return total - sum(flow.done for flow in flows)
        return None if expected is None else max(0, expected - self.copied)


@dataclass(frozen=True, slots=True)
class _Flow:
    done: int
    total: int | None
    moved: int


def _total(flows: Iterable[_Flow]) -> int | None:
    totals = [flow.total for flow in flows]
    return sum(total for total in totals if total is not None) if totals and None not in totals else None


def _moved(event: Mapping[str, Any]) -> int:
    read: int | None = event.get("read")
    done: int = event["done"]
    return done - event.get("zero", 0) - event.get("skipped", 0) if read is None else read


@dataclass(slots=True)
class Waiting:
    """One that has not begun."""

    expected: int | None
    """Bytes that it may copy."""
    at_most: bool = False
    """`expected` is a bound."""


@dataclass
class Totals:
    """Of all jobs of one command, by key."""

    noun: str
    began: float
    waiting: dict[str, Waiting]
    running: dict[str, Running] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    waits_for: str = ""
    """What the next one waits for, of limits."""
    _copied: int = 0
    """By those that have ended."""
    _expected: dict[str, Waiting] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.waiting) + len(self.running) + self.done + self.failed

    @property
    def copied(self) -> int:
        return self._copied + sum(one.copied for one in self.running.values())

    def start(self, key: str, at: float) -> None:
        self._expected[key] = self.waiting.pop(key, Waiting(None))
        self.running[key] = Running(at)

    def again(self, key: str) -> None:
        """It waits once more."""
        self.running.pop(key, None)
        self.waiting[key] = self._expected.pop(key, Waiting(None))

    def end(self, key: str, *, is_done: bool) -> None:
        self.waiting.pop(key, None)
        self._expected.pop(key, None)
        if (one := self.running.pop(key, None)) is not None:
            self._copied += one.copied
        self.done += is_done
        self.failed += not is_done

    def speed(self, at: float) -> float:
        return sum(one.speed(at) for one in self.running.values())

    def eta(self, at: float) -> str:
        """``2 h 10 min left``, by the bytes that all took so far and the time in which they did; why it
        cannot be told where it cannot. Empty where nothing is left."""
        if not self.waiting and not self.running:
            return ""
        left = [one.expected for one in self.waiting.values()]
        left += [one.left(self._expected[key].expected) for key, one in self.running.items()]
        if unknown := left.count(None):
            return f"ETA unknown: {counted(unknown, self.noun)} of unknown size"
        copied = self.copied
        if not copied:
            return "ETA unknown: nothing was copied yet"
        if at - self.began < WINDOW:
            return f"ETA unknown: it began less than {WINDOW:g} s ago"
        seconds = sum(filter(None, left)) * (at - self.began) / copied
        bound = any(one.at_most for one in (*self.waiting.values(), *self._expected.values()))
        return f"{'at most ' if bound else ''}{human_seconds(seconds)} left"
