"""Room that is measured, beside the limits that are counted: what may still be written to a repository, what
a datastore has left, how many snapshots failed runs hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from runner.base.errors import SendenseError
from runner.base.units import HOUR, MINUTE
from runner.sets.queue import Queue
from runner.step.items import Room

UNREACHED = 1 * HOUR
"""Seconds for which what does not answer is waited for: a vCenter or a host that restarts."""


class Rooms:
    """Those that this runner's requests name. `clock`: seconds that count on."""

    def __init__(self, rooms: Sequence[Room], queue: Queue, clock: Callable[[], float]) -> None:
        self._rooms = {room.resource: room for room in rooms}
        self._queue = queue
        self._clock = clock
        self._due = dict.fromkeys(self._rooms, -math.inf)
        self.failures: dict[str, SendenseError] = {}
        """Resource → why it could not be measured."""
        self._failing: dict[str, float] = {}
        """Resource → since when."""

    def __contains__(self, resource: str) -> bool:
        return resource in self._rooms

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def due(self) -> float:
        """Seconds until one of them is measured again."""
        return max(0.0, min(self._due.values()) - self._clock()) if self._due else math.inf

    def expire(self) -> None:
        """What came of a child may have changed them."""
        self._due = dict.fromkeys(self._rooms, -math.inf)

    def may_answer(self, resource: str) -> bool:
        """Whether it could not be measured, and may be if it is asked again."""
        failure = self.failures.get(resource)
        if failure is None or not failure.transient:
            return False
        return self._clock() - self._failing[resource] <= UNREACHED

    def measure(self) -> None:
        """Those whose time it is."""
        now = self._clock()
        for resource in [resource for resource, due in self._due.items() if due <= now]:
            room, left = self._rooms[resource], -1.0
            self._due[resource] = now + room.every
            self.failures.pop(resource, None)
            try:
                left = room.measure(self._queue.holding.keys())
            except SendenseError as error:
                self.failures[resource] = error
                self._failing.setdefault(resource, now)
                self._due[resource] = now + min(room.every, MINUTE)
            else:
                self._failing.pop(resource, None)
            self._queue.set_capacity(resource, left)
