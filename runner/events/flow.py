"""Bytes over time: how far one stream of work came, and how fast all of them together were."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from runner.base.model import Model
from runner.events.events import NodeProgress

BINS = 120  # points of the curve: two pixels of a printed page each


class FlowSummary(Model):
    """What one node did in one phase; what is completed, in bytes unless `noun` says what else. `seconds`
    that its last attempt took, by its own clock where it tells that, else from its first to its last
    event."""

    node: str
    label: str
    phase: str
    done: int
    total: int | None
    data: int
    zero: int
    skipped: int
    seconds: float
    moved: int
    """Bytes that came from what is read, in the last attempt: not what was safe before, holes, and what is a
    parent's."""
    speed: float | None
    """`moved` a second, over those seconds; None where it was too short to tell, and of what is no bytes."""
    noun: str = "bytes"

    @property
    def is_wait(self) -> bool:
        """Whether it says how long something was watched at most: it may end before, and moves nothing."""
        return self.noun == "second"

    @property
    def state(self) -> Literal["complete", "incomplete", "unknown"]:
        if self.total is None:
            return "unknown"
        return "complete" if self.done >= self.total else "incomplete"


class Throughput(Model):
    """`phases`: bytes a second in each bin of `bin_seconds`, from `start`; bytes that were holes are not
    counted."""

    start: datetime
    bin_seconds: float
    phases: dict[str, tuple[float, ...]]


class Flow:
    """One node's phase while it runs: the latest event whole, a thinned list of samples for the curve, and
    the last seconds for the speed of now."""

    # Seconds that the speed of now is measured over: long enough to be read, short enough to be now.
    WINDOW = 10.0
    GRAIN = 0.25  # seconds between what is kept of them

    def __init__(self, first: NodeProgress) -> None:
        self.first = first
        self.latest = first
        self.samples: list[tuple[datetime, int]] = []
        self._recent: deque[NodeProgress] = deque([first])

    def add(self, event: NodeProgress) -> None:
        if _is_another_attempt(self.latest, event):
            self.first = event
            self._recent.clear()
        self.latest = event
        # A copy reports several hundred times a second: forty samples are a window, not four thousand.
        if not self._recent or _seconds(self._recent[-1], event.at) >= self.GRAIN:
            self._recent.append(event)
        while len(self._recent) > 1 and _seconds(self._recent[1], event.at) >= self.WINDOW:
            self._recent.popleft()

    @property
    def is_wait(self) -> bool:
        """As `FlowSummary.is_wait`."""
        return self.latest.noun == "second"

    def speed(self, now: datetime) -> float | None:
        """As `FlowSummary.speed`, over the last seconds; None while it is too early to tell. A stall brings
        it to 0."""
        latest = self.latest
        if latest.noun != "bytes":
            return None
        since = self._since(now)
        seconds, moved = _seconds(since, now), _moved(latest) - _moved(since)
        # Younger than the window, so all of it, by the clock of the host that works: the first event came
        # only when something was done.
        if latest.seconds is not None and latest.seconds + _seconds(latest, now) <= self.WINDOW:
            seconds, moved = latest.seconds + _seconds(latest, now), _moved(latest)
        return None if seconds < 2 * self.GRAIN else moved / seconds

    def seconds_left(self, now: datetime) -> float | None:
        """By how fast it completes: what is skipped takes no time now, and none later. None of a wait, which
        ends when it has seen enough."""
        if self.is_wait:
            return None
        since = self._since(now)
        seconds, done = _seconds(since, now), self.latest.done - since.done
        if seconds < 2 * self.GRAIN or done <= 0 or self.latest.total is None:
            return None
        return max(0, self.latest.total - self.latest.done) * seconds / done

    def _since(self, now: datetime) -> NodeProgress:
        since = self._recent[0]
        for event in self._recent:
            if _seconds(event, now) >= self.WINDOW:
                since = event
        return since

    @property
    def percent(self) -> int | None:
        """Rounded down: 100 is all of it, and never more. None where the whole is unknown."""
        done, total = self.latest.done, self.latest.total
        if total is None:
            return None
        return min(100, done * 100 // total) if total else 100

    def sample(self, event: NodeProgress) -> None:
        self.samples.append((event.at, _moved(event)))

    def summary(self) -> FlowSummary:
        latest = self.latest
        seconds, moved = _seconds(self.first, latest.at), _moved(latest) - _moved(self.first)
        if latest.seconds is not None:
            seconds, moved = latest.seconds, _moved(latest)
        return FlowSummary(
            node=latest.node,
            label=latest.label,
            phase=latest.phase,
            done=latest.done,
            total=latest.total,
            data=latest.data,
            zero=latest.zero,
            skipped=latest.skipped,
            seconds=seconds,
            moved=moved,
            speed=moved / seconds if seconds > 0 and latest.noun == "bytes" else None,
            noun=latest.noun,
        )


def _seconds(event: NodeProgress, now: datetime) -> float:
    return (now - event.at).total_seconds()


def _is_another_attempt(before: NodeProgress, event: NodeProgress) -> bool:
    """From the start, or from what was safe by then: its clock began again."""
    began_again = before.seconds is not None and event.seconds is not None and event.seconds < before.seconds
    return began_again or event.done < before.done


def _moved(event: NodeProgress) -> int:
    """Bytes that went through the wires: 64 TiB of holes in a second would dwarf every real curve."""
    if event.read is not None:
        return event.read
    return event.data if event.data or event.zero or event.skipped else event.done


def throughput(flows: Iterable[Flow], start: datetime, end: datetime) -> Throughput:
    """Of those of bytes. Each sample's are spread evenly over the time since the sample before."""
    # Two events in one instant are a run of no length, which cannot be divided by.
    width = max((end - start).total_seconds() / BINS, 0.05)
    phases: dict[str, list[float]] = {}
    for flow in (flow for flow in flows if flow.latest.noun == "bytes"):
        bins = phases.setdefault(flow.latest.phase, [0.0] * BINS)
        for (since, before), (until, after) in zip(flow.samples, flow.samples[1:], strict=False):
            # A disk that starts over counts from zero again.
            moved = after - before if after >= before else after
            _spread(
                bins,
                width,
                (since - start) / timedelta(seconds=1),
                (until - start) / timedelta(seconds=1),
                moved,
            )
    return Throughput(
        start=start,
        bin_seconds=width,
        phases={phase: tuple(count / width for count in bins) for phase, bins in phases.items()},
    )


def _spread(bins: list[float], width: float, since: float, until: float, count: int) -> None:
    first, last = int(max(since, 0.0) / width), min(int(until / width), len(bins) - 1)
    if first >= last or until <= since:
        bins[max(0, min(first, last))] += count
        return
    for index in range(first, last + 1):
        share = min(until, (index + 1) * width) - max(since, index * width)
        bins[index] += count * max(share, 0.0) / (until - since)
