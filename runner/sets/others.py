"""The requests and claims of other runners, in this runner's queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from runner.sets.book import Entry, Runner
from runner.sets.queue import Queue
from runner.sets.slots import Seen
from runner.sets.waiting import Waiting

ALIVE = 60.0
"""Seconds since a runner looked, within which its requests count in the order: one that is frozen takes
nothing that is kept for it."""


class Others:
    """What was last seen of them. A request of theirs that comes first is given what it needs here too, until
    they are seen again: it is for its own runner to take that."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._known: set[str] = set()
        """What they held when they were last seen: what is new passed requests of ours."""
        self._waits: list[str] = []
        self._room: Counter[str] = Counter()
        self.unread: tuple[str, ...] = ()
        """Names of runners that may hold anything."""

    def see(self, seen: Seen, now: float) -> None:
        self.forget()
        self.unread = tuple(one.name for one in seen.others if one.book is None)
        holds = {
            _named(runner, entry): entry
            for runner in seen.others
            if runner.book is not None
            for entry in runner.book.holds
        }
        for name, entry in holds.items():
            order = None if name in self._known else _waiting(name, entry)
            self._queue.hold(name, entry.claims, order)
        self._known = set(holds)
        for runner in seen.others:
            if runner.book is None or not runner.lives or runner.quiet > ALIVE:
                continue
            self._room[runner.name] = runner.book.room
            for entry in runner.book.waits:
                request = replace(entry.request(now), id=_named(runner, entry))
                self._waits.append(request.id)
                self._queue.put(request, now, since=entry.since, owner=runner.name, passed=entry.passed)

    def forget(self) -> None:
        """What is known of them is out of date."""
        for name in self._waits:
            self._queue.withdraw(name)
        for name in (*self._known, *self._waits):
            self._queue.release(name)
        self._waits.clear()
        self._room.clear()

    def may_begin(self, owner: str) -> bool:
        """One more of that runner's."""
        self._room[owner] -= 1
        return self._room[owner] >= 0


def _named(runner: Runner, entry: Entry) -> str:
    """Two runners may wait for one child: its own lock tells them apart later."""
    return f"{runner.name}/{entry.id}"


def _waiting(name: str, entry: Entry) -> Waiting:
    point = float("-inf") if entry.point is None else entry.point
    return Waiting(entry.request(0.0), (entry.priority, point, entry.since, name), entry.since)
