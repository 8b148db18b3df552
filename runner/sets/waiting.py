"""What the queue is made of: requests that wait, alike ones together, and what they wait for."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

from runner.sets.request import Request
from runner.step.items import Claim

MINE = ""
"""The owner of what this runner asked for itself."""

NEW = ""
"""Where a kind is that was not tried yet: everything has enough left for it."""

Group = tuple[int, int, str]
"""Amount, limit and owner of those that are parked together."""

Key = tuple[int, float, float, str]
"""Priority, time of the newest good point, when it was put, id: the same order for every runner."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A request that is not admitted yet."""

    request: Request
    key: Key
    since: float
    """When it was put, by the clock of its owner."""
    owner: str = MINE
    passed: int = 0
    reserves: bool = False
    gone: bool = False
    """Admitted or withdrawn."""

    def __lt__(self, other: Waiting) -> bool:
        return self.key < other.key


@dataclass(slots=True, eq=False)
class Kind:
    owner: str
    claims: tuple[Claim, ...]
    waiting: list[Waiting] = field(default_factory=list)
    """A heap; those that are gone or reserve are dropped when they come to its top."""
    at: str = NEW
    """Parked at that resource, since it has not enough left."""
    group: Group = (0, 0, MINE)
    entered: Key | None = None
    """The key of its valid entry there."""

    def head(self) -> Waiting | None:
        while self.waiting and (self.waiting[0].gone or self.waiting[0].reserves):
            heapq.heappop(self.waiting)
        return self.waiting[0] if self.waiting else None


@dataclass(slots=True, eq=False)
class Resource:
    """What is in use of it, and who waits for it."""

    used: int = 0
    reserved: int = 0
    """Of requests that were passed over too often."""
    limits: Counter[int] = field(default_factory=Counter)
    """Of those who hold: two job files may say different ones, and none is passed."""
    capacity: float = math.inf
    """What is known beside the claims: room that was measured."""
    parked: dict[Group, list[tuple[Key, int, Kind]]] = field(default_factory=dict)
    """Heaps."""

    def left(self, limit: int) -> float:
        """Of it, for one who takes it to be `limit`; nothing is set aside for reservations."""
        return min(limit, self.capacity, *self.limits) - self.used


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a request waits: of `claim` only `left` is left (negative where a limit was lowered)."""

    claim: Claim
    left: int
    reserved: bool
    """It would be enough, but a request that was passed over too often reserves it."""
