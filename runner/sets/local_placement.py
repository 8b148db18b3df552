"""Children as processes of this machine."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress

from runner.base.errors import SendenseError
from runner.sets.child_process import ChildProcess, Said
from runner.sets.placement import ChildEnded, Order, Told
from runner.step.items import Claim


class LocalPlacement:
    """At most `at_once` processes. `told` and `said` are called from threads of their own."""

    def __init__(self, at_once: int, told: Told, said: Said) -> None:
        self._at_once = at_once
        self._told = told
        self._said = said
        self._running: dict[str, ChildProcess] = {}
        self._ended: queue.SimpleQueue[ChildEnded] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def room(self) -> int:
        return self._at_once - len(self._running)

    def claims(self, host: str) -> tuple[Claim, ...]:
        return ()

    def start(self, order: Order) -> None:
        with self._lock:  # it may have ended before we know that it runs
            try:
                child = ChildProcess(order, self._told, self._said, self._has_ended)
            except SendenseError as error:
                self._ended.put(ChildEnded(order.key, error.exit_code, error=error.message))
            else:
                self._running[order.key] = child

    def _has_ended(self, ended: ChildEnded) -> None:
        with self._lock:
            del self._running[ended.key]
        self._ended.put(ended)

    def stop(self) -> None:
        for child in self._processes():
            child.stop()

    def ended(self, timeout: float) -> list[ChildEnded]:
        found: list[ChildEnded] = []
        with suppress(queue.Empty):
            found.append(self._ended.get(timeout=timeout))
            while True:
                found.append(self._ended.get_nowait())
        return found

    def close(self) -> None:
        """What still runs then, after a bug of ours say, stops in order by itself: its lease is over."""
        self.stop()

    def _processes(self) -> list[ChildProcess]:
        with self._lock:
            return list(self._running.values())
