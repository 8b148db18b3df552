"""Room that is measured, beside the limits that are counted: what may still be written to a repository, what
a datastore has left, how many snapshots failed runs hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.sets.queue import Queue

EVERY = 60.0
"""Seconds for which a measurement holds."""


@dataclass(frozen=True, slots=True)
class Room:
    """Of one resource."""

    resource: str
    """As in `Claim.resource`."""
    measure: Callable[[], float]
    """How much of it all that are admitted may take together; negative: none may begin. Raises SendenseError:
    what could not be measured is no room."""


class Rooms:
    """Those that this runner's requests name. `clock`: seconds that count on."""

    def __init__(self, rooms: Sequence[Room], queue: Queue, clock: Callable[[], float]) -> None:
        self._rooms = {room.resource: room for room in rooms}
        self._queue = queue
        self._clock = clock
        self._measured = -math.inf
        self.failures: dict[str, SendenseError] = {}
        """Resource → why it could not be measured."""

    def __contains__(self, resource: str) -> bool:
        return resource in self._rooms

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def due(self) -> float:
        return max(0.0, self._measured + EVERY - self._clock()) if self._rooms else math.inf

    def expire(self) -> None:
        """What came of a child may have changed it."""
        self._measured = -math.inf

    def measure(self) -> None:
        """If it is time."""
        if not self._rooms or self.due():
            return
        self._measured = self._clock()
        self.failures = {}
        for room in self._rooms.values():
            left = -1.0
            try:
                left = room.measure()
            except SendenseError as error:
                self.failures[room.resource] = error
            self._queue.set_capacity(room.resource, left)
