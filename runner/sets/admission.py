"""Which of a set's children may begin: the queue, the place where other runners say what they hold, room, and
causes that many children share."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import JsonValue

from runner.sets.queue import MINE, Lack, Queue
from runner.sets.request import Request


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is no longer in the queue, though it was never admitted."""

    request: Request
    why: str
    """A sentence: there is no room, or what keeps all of them from beginning."""
    shared: str
    """The cause that it shares with others: ``no room in repository main``."""


class Admission:
    """Safe from any thread. To be closed, as a context manager does it: its claims are void from then on.

    A request that was put is admitted (`admit`), refused with a reason (`refused`), or waits
    (`waits_for`): none is dropped. What was admitted is to be given back by `release` with what came of it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._clock = clock
        self._queue = Queue()
        self._requests: dict[str, Request] = {}
        self._changing = threading.RLock()
        self._changed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, *requests: Request) -> None:
        with self._changing:
            now = self._clock()
            for request in requests:
                self._requests[request.id] = request
                self._queue.put(request, now)
        self._changed.set()

    def withdraw(self, identities: Iterable[str]) -> None:
        """They are wanted no longer: the run was told to stop."""
        with self._changing:
            for identity in identities:
                self._queue.withdraw(identity)

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changing:
            return sum(1 for _ in self._queue.waiting())

    def admit(self, room: int) -> list[Request]:
        """Those that are to be started now, at most `room` of them; they hold what they need until
        `release`."""
        left = room

        def may_begin(owner: str) -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        with self._changing:
            self._changed.clear()
            return [one.request for one in self._queue.admit(may_begin) if one.owner == MINE]

    def told(self, identity: str, event: dict[str, JsonValue]) -> None:
        """An event of that child: that it got anywhere tells that what others failed at is over."""

    def release(self, identity: str, shared: Sequence[str] = ()) -> bool:
        """The child ended. `shared`: causes of its failure that other children would meet as well, as its
        document names them. True if it was put into the queue again, to be tried once they are over: nothing
        came of it yet."""
        with self._changing:
            self._queue.release(identity)
            self._requests.pop(identity, None)
        self._changed.set()
        return False

    def refused(self) -> list[Refused]:
        """Those that are not waited for any longer, since the last call; each is a failure of its own."""
        return []

    def waits_for(self, identity: str) -> str:
        """In words: ``1 of 8 disks read in vCenter prod at once (7 in use)``."""
        with self._changing:
            if not self._queue.is_waiting(identity):
                return ""
            return _in_words(self._queue.waits_for(identity))

    def due(self) -> float:
        """Seconds until `admit` may answer otherwise without a `put` or a `release` of ours; infinite where
        nothing but these can change it."""
        return math.inf

    def wait(self, timeout: float) -> None:
        """Until `admit` may answer otherwise, `timeout` seconds at most."""
        self._changed.wait(min(timeout, self.due()))

    def close(self) -> None:
        return None


def _in_words(lack: Lack | None) -> str:
    if lack is None:
        return "a free place to run"
    claim = lack.claim
    share = f"all {claim.limit}" if claim.divided else f"{claim.amount} of {claim.limit}"
    used = "kept for one that waits longer" if lack.reserved else f"{claim.limit - lack.left} in use"
    return f"{share} {claim.what} ({used})"
