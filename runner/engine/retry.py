"""How long what fails by transient errors is tried again, and how long it rests before each attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from runner.base.errors import SendenseError
from runner.events.events import Bus, NodeRetrying
from runner.job.model import DEFAULT_RETRIES

ResultT = TypeVar("ResultT")

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Backoff between attempts, seconds, doubling."""


class Patience:
    """Of one node: at most `retries` attempts more, in a row without progress."""

    def __init__(
        self, retries: int, stop: threading.Event, tell: Callable[[SendenseError, float, int], None]
    ) -> None:
        """`tell` gets the error, the seconds until the next attempt, and the number of the one that
        failed."""
        self.attempt = 1
        self._retries = retries
        self._stop = stop
        self._tell = tell
        self._wait = FIRST_WAIT

    def see_through(self, attempt: Callable[[], ResultT]) -> ResultT:
        """`attempt()`, again after transient errors."""
        while True:
            try:
                return attempt()
            except SendenseError as error:
                if self.is_over(error, advanced=False):
                    raise
                self.rest(error, lambda: None)

    def is_over(self, error: SendenseError, *, advanced: bool) -> bool:
        """Whether `error` is the last word. `advanced`: the attempt made some of the node's work durable, so
        this failure is not one in a row."""
        if not error.transient or self._retries == 0 or self._stop.is_set():
            return True
        if advanced:
            self.attempt, self._wait = 1, FIRST_WAIT
        return self.attempt > self._retries

    def rest(self, error: SendenseError, prepare: Callable[[], None]) -> None:
        """Tells, calls `prepare`, and waits until the next attempt, or until the run is told to stop."""
        self._tell(error, self._wait, self.attempt)
        prepare()
        self._stop.wait(self._wait)
        self.attempt, self._wait = self.attempt + 1, min(LONGEST_WAIT, self._wait * 2)


def patiently(act: Callable[[], ResultT], what: str, bus: Bus, stop: threading.Event) -> ResultT:
    """What `act` returns, tried again as often as a node that says nothing of it; `what` it does is told in
    words. Raises the last error."""

    def tell(error: SendenseError, wait: float, number: int) -> None:
        bus.emit(NodeRetrying(node=what, error=str(error), wait=wait, attempt=number))

    return Patience(DEFAULT_RETRIES, stop, tell).see_through(act)
