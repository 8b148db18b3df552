"""How often what fails by transient errors is tried again, and how long it pauses before each attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from runner.base.errors import Interrupted, is_transient
from runner.base.waiting import again
from runner.engine.processes import ProcessFailed
from runner.events.events import Bus, NodeRetrying
from runner.job.model import DEFAULT_RETRIES

ResultT = TypeVar("ResultT")

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Backoff between attempts, seconds, doubling."""


def patiently(
    attempt: Callable[[int], ResultT],
    what: str,
    bus: Bus,
    stop: threading.Event,
    *,
    retries: int = DEFAULT_RETRIES,
    advanced: Callable[[], bool] = lambda: False,
    prepare: Callable[[], None] = lambda: None,
) -> ResultT:
    """What `attempt(its number)` returns, tried again after transient errors, at most `retries` times in a
    row; `advanced` tells whether the last attempt made some of the work durable, so that its failure is not
    one in a row. Each is told of as one of `what` (a node, or words); `prepare` is called before the pause.

    Raises the last error, also where the run is told to stop in a pause: it says more than that nobody waits
    any longer."""

    def tell(failure: BaseException, wait: float, number: int) -> None:
        bus.emit(NodeRetrying(node=what, error=str(_cause(failure)), wait=wait, attempt=number))
        prepare()

    try:
        return again(
            attempt,
            on=lambda failure: is_transient(_cause(failure)),
            stop=stop,
            attempts=1 + retries,
            first=FIRST_WAIT,
            longest=LONGEST_WAIT,
            advanced=advanced,
            before_pause=tell,
        )
    except Interrupted as stopped:
        last = stopped.__cause__
        if last is not None and is_transient(_cause(last)):
            raise last from None
        raise


def _cause(failure: BaseException) -> BaseException:
    return failure.error if isinstance(failure, ProcessFailed) else failure
