"""What failed in an execution: told as an event, and kept for its outcome."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from runner.base.errors import Interrupted, SendenseError, UsageError
from runner.events.events import Bus, NodeFailed
from runner.hosts.limits import limit_of


@dataclass
class Outcome:
    """`failures`: node → error, in the order they happened. `work_done`: every node but those of the end is
    done. `begun`: something was changed, now or by an earlier execution of the run."""

    work_done: bool = False
    begun: bool = False
    failures: list[tuple[str, SendenseError]] = field(default_factory=list)
    unwind_failures: list[str] = field(default_factory=list)
    interrupted: bool = False

    def exit_code_of(self, error: SendenseError) -> int:
        """2 says that nothing was touched: not of a run that changed something, whatever it met then (a
        secret that can no longer be read when it logs in again)."""
        is_late = self.begun and error.exit_code == UsageError.exit_code
        return SendenseError.exit_code if is_late else error.exit_code


class Failures:
    """Of nodes, from whichever thread."""

    def __init__(self, outcome: Outcome, bus: Bus) -> None:
        self.outcome = outcome
        self._bus = bus
        self._lock = threading.Lock()

    def add(self, node: str, step: str, error: SendenseError, began: float | None = None) -> None:
        """`began`: by the monotonic clock; None for what took no time."""
        if (limit := limit_of(error)) not in (None, error):
            error.add(str(limit))
        with self._lock:
            if isinstance(error, Interrupted):
                self.outcome.interrupted = True
            else:
                self.outcome.failures.append((node, error))
        self._bus.emit(
            NodeFailed(
                node=node,
                step=step,
                seconds=0.0 if began is None else time.monotonic() - began,
                error=str(error),
                exit_code=self.outcome.exit_code_of(error),
                fix_first=error.fix_first,
                shared=error.shared,
            )
        )
