"""The one way to wait for a condition, and the one way to try again: both have a limit, and both end at once
when the run is told to stop.

What is tried again is counted, paced and limited by `tenacity`; a stop is an event that all pauses wait for.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from runner.base import workers
from runner.base.errors import Interrupted

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.stop import stop_base

ResultT = TypeVar("ResultT")

LOOK = 0.1
"""Seconds between two looks at the stop by what waits for something else than an event."""

PAUSE = 0.02
"""Seconds between two looks at what is cheap to look at: nobody notices it, and a core has nothing to do."""


class Never(threading.Event):
    """The stop of work that nothing stops: what closes and cleans up after the run's own stop was heard, and
    what runs outside of any run."""

    def set(self) -> None:
        raise RuntimeError("nothing stops this work")


NEVER = Never()


class Deadline(threading.Event):
    """A stop that comes by itself, `seconds` after it was made."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ends = time.monotonic() + seconds

    def is_set(self) -> bool:
        return super().is_set() or time.monotonic() >= self._ends

    def wait(self, timeout: float | None = None) -> bool:
        left = max(0.0, self._ends - time.monotonic())
        super().wait(left if timeout is None else min(timeout, left))
        return self.is_set()


class FirstOf(threading.Event):
    """A stop that comes with the first of several."""

    def __init__(self, *stops: threading.Event) -> None:
        super().__init__()
        self._stops = stops

    def is_set(self) -> bool:
        return super().is_set() or any(stop.is_set() for stop in self._stops)

    def wait(self, timeout: float | None = None) -> bool:
        ends = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := ends - time.monotonic()) > 0:
            super().wait(min(LOOK, left))
        return self.is_set()


def heeding(stop: threading.Event, items: Iterable[ResultT]) -> Iterator[ResultT]:
    """The items as they come, until `stop` is set: then Interrupted."""
    for item in items:
        if stop.is_set():
            raise Interrupted
        yield item


def unless_stopped(
    work: Callable[[], ResultT],
    stop: threading.Event,
    drop: Callable[[ResultT], object] = lambda result: None,
) -> ResultT:
    """What `work` returns or raises, of work that cannot be ended from without, such as a library's call on a
    connection: a stop leaves it to a thread of its own and raises Interrupted. `drop` gets what it returns
    all the same."""
    if stop is NEVER:
        return work()
    ended: Future[ResultT] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            ended.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001  the waiting thread gets it
            ended.set_exception(error)

    workers.start(run, "may be left")
    try:
        until(partial(has_ended, ended), stop=stop, timeout=math.inf, pause=0)
    except Interrupted:
        ended.add_done_callback(lambda late: None if late.exception() else drop(late.result()))
        raise
    return ended.result()


def has_ended(work: Future[Any]) -> bool:
    """Within LOOK seconds."""
    try:
        work.exception(LOOK)
    except TimeoutError:
        return False
    return True


def until(
    ready: Callable[[], ResultT | None],
    *,
    stop: threading.Event,
    timeout: float,
    late: Callable[[], Exception] = TimeoutError,
    pause: float = PAUSE,
    longest_pause: float | None = None,
) -> ResultT:
    """What `ready` answers as soon as it is true. It is asked at once, then every `pause` seconds, or half as
    long again each time up to `longest_pause`.

    Raises Interrupted once `stop` is set, what `late` makes once `timeout` seconds are over, and what `ready`
    raises."""
    ends = time.monotonic() + timeout
    while not (answer := ready()):
        if stop.is_set():
            raise Interrupted
        if time.monotonic() >= ends:
            raise late()
        if stop.wait(pause):
            raise Interrupted
        if longest_pause is not None:
            pause = min(pause * 1.5, longest_pause)
    return answer


def again(
    act: Callable[[int], ResultT],
    *,
    on: Callable[[BaseException], bool],
    stop: threading.Event,
    attempts: int | None = None,
    timeout: float | None = None,
    first: float = 1.0,
    longest: float | None = None,
    growth: float = 2.0,
    advanced: Callable[[], bool] = lambda: False,
    before_pause: Callable[[BaseException, float, int], None] = lambda error, pause, number: None,
) -> ResultT:
    """What `act(number of the attempt)` returns, tried again after errors that `on` accepts: at most
    `attempts` times in a row, and as long as no more than `timeout` seconds are over. It pauses `first`
    seconds, then each time `growth` times as long up to `longest` (None: always `first`).

    `advanced` tells after a failure whether that attempt got some of the work done: counting and pauses then
    begin again. `before_pause` gets the error, the seconds until the next attempt and the number of the one
    that failed.

    Raises the last error. Where it would be tried again and `stop` is set, Interrupted from that error."""
    began = time.monotonic()
    try:
        return act(1)
    except BaseException as error:
        if not on(error):
            raise
        first_error = error
    # What fails is rare, and the import of what counts and paces further attempts takes 15 ms.
    from tenacity import Retrying, retry_if_exception, wait_exponential

    accepted = retry_if_exception(on)

    def is_worth_it(state: RetryCallState) -> bool:
        if advanced():
            state.attempt_number = 1
        return accepted(state)

    pauses = _Pauses(stop, before_pause)
    trying = Retrying(
        retry=is_worth_it,
        stop=_limits(attempts, None if timeout is None else timeout - (time.monotonic() - began)),
        wait=wait_exponential(multiplier=first, exp_base=growth, max=first if longest is None else longest),
        sleep=pauses.wait,
        before_sleep=pauses.tell,
        reraise=True,
    )
    for attempt in trying:
        with attempt:
            if attempt.retry_state.attempt_number == 1:
                raise first_error
            result = act(attempt.retry_state.attempt_number)
    return result


class _Pauses:
    """Between attempts."""

    def __init__(self, stop: threading.Event, before: Callable[[BaseException, float, int], None]) -> None:
        self._stop = stop
        self._before = before
        self._failed: BaseException | None = None

    def tell(self, state: RetryCallState) -> None:
        self._failed, action = _error(state), state.next_action
        assert self._failed is not None and action is not None
        if not self._stop.is_set():  # else there is no pause, and no attempt behind it
            self._before(self._failed, action.sleep, state.attempt_number)

    def wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted from self._failed


def _limits(attempts: int | None, timeout: float | None) -> stop_base:
    from tenacity import stop_after_attempt, stop_after_delay, stop_any, stop_never

    limits: stop_base = stop_any(stop_never)
    if attempts is not None:
        limits = stop_any(limits, stop_after_attempt(attempts))
    if timeout is not None:
        limits = stop_any(limits, stop_after_delay(timeout))
    return limits


def _error(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
