"""From the queue to a place to run, and back: each request is admitted, run to its end and released; nothing
is ever dropped without a word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from runner.base.errors import SendenseError
from runner.sets.admission import Admission
from runner.sets.breaker import causes_of
from runner.sets.placement import ChildEnded, Order, Placement, PlacementLostError
from runner.sets.request import Request

LOOK = 0.2
"""Seconds until a request to stop is passed on: signals within a second are one request."""


TELLS = 5.0
"""Seconds between two looks at what the next one waits for."""


class Watcher(Protocol):
    """Hears what becomes of each, by its id."""

    def started(self, key: str) -> None: ...

    def ended(self, ended: ChildEnded) -> None:
        """Also of one that was never started, which has no document then."""

    def again(self, ended: ChildEnded) -> None:
        """It failed by a cause that others share, and waits until that is over."""

    def noted(self, text: str) -> None:
        """A sentence for people: what stops all of them, and that it is over."""

    def waits(self, what: str) -> None:
        """What the next one waits for; empty if it waits for none of the limits."""


class Controller:
    def __init__(
        self,
        admission: Admission,
        placement: Placement,
        order_of: Callable[[str], Order],
        watcher: Watcher,
        stop: threading.Event,
    ) -> None:
        """`order_of`: of the request with that id, made when it is admitted."""
        self._admission = admission
        self._placement = placement
        self._order_of = order_of
        self._watcher = watcher
        self._stop = stop
        self._running: set[str] = set()
        self._is_stopping = False
        self._told = 0.0

    def run(self, requests: Sequence[Request]) -> None:
        """Until each has ended, or, once `stop` is set, until those have that were begun. Raises
        PlacementLostError; those that were begun are failures then."""
        self._admission.put(*requests)
        waiting = {request.id for request in requests}
        try:
            self._work(waiting)
        except PlacementLostError as error:
            for key in sorted(self._running):
                self._watcher.ended(ChildEnded(key, error.exit_code, error=error.message))
            raise

    def _work(self, waiting: set[str]) -> None:
        while self._running or (waiting and not self._is_stopping):
            if self._stop.is_set() and not self._is_stopping:
                self._is_stopping = True
                self._admission.withdraw(waiting)
                self._placement.stop()
            if not self._is_stopping:
                self._begin(waiting)
                self._tell(waiting)
            if self._running:
                for ended in self._placement.ended(LOOK):
                    self._end(ended, waiting)
            elif waiting and not self._is_stopping:
                self._admission.wait(LOOK)

    def _tell(self, waiting: set[str]) -> None:
        for text in self._admission.notices():
            self._watcher.noted(text)
        if time.monotonic() - self._told < TELLS:
            return
        self._told = time.monotonic()
        limited = waiting and self._placement.room() > 0
        self._watcher.waits(self._admission.waits_for(min(waiting)) if limited else "")

    def _begin(self, waiting: set[str]) -> None:
        for refused in self._admission.refused():
            waiting.discard(refused.request.id)
            document = {
                "outcome": "not-begun",
                "exit_code": 1,
                "summary": refused.why,
                "shared": {refused.shared: refused.why},
            }
            self._watcher.ended(ChildEnded(refused.request.id, 1, document, refused.why))
        for request in self._admission.admit(self._placement.room()):
            waiting.discard(request.id)
            self._running.add(request.id)
            try:
                order = self._order_of(request.id)
            except SendenseError as error:
                self._end(ChildEnded(request.id, error.exit_code, error=error.message), waiting)
                continue
            self._watcher.started(request.id)
            self._placement.start(order)

    def _end(self, ended: ChildEnded, waiting: set[str]) -> None:
        self._running.discard(ended.key)
        causes, failed = causes_of(ended.document), ended.exit_code != 0
        if self._admission.release(ended.key, causes, failed=failed) and not self._is_stopping:
            waiting.add(ended.key)
            self._watcher.again(ended)
        else:
            self._watcher.ended(ended)
