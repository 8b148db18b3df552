"""How an execution ends: processes are closed, that all work is done is recorded, what the run holds is taken
back as far as it may be, and the guards are closed last."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.base.errors import SendenseError
from runner.engine.processes import Processes
from runner.engine.retry import patiently
from runner.engine.schedule import Schedule
from runner.engine.teardown import Unwinding
from runner.events.events import Bus

RUN = "the run's record"
"""What fails, in words, where it is no node."""


class Conclusion:
    """Of one execution. `failures`: what failed as in `Outcome`; `unwind_failures`: what could not be taken
    back."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        processes: Processes,
        unwinding: Unwinding,
        bus: Bus,
        stop: threading.Event,
        is_sealed: Callable[[], bool],
        tell_work_done: Callable[[], None],
    ) -> None:
        self._schedule = schedule
        self._processes = processes
        self._unwinding = unwinding
        self._bus = bus
        self._stop = stop
        self._is_sealed = is_sealed
        self._tell_work_done = tell_work_done
        self._told = False
        self._unwound = False
        self.failures: list[tuple[str, SendenseError]] = []
        self.unwind_failures: list[str] = []

    def record_work_done(self) -> None:
        """Before anything is taken back. If it cannot be written, the run has failed."""
        if self._told:
            return
        try:
            patiently(lambda number: self._tell_work_done(), RUN, self._bus, self._stop)
            self._told = True
        except SendenseError as error:
            self.failures.append((RUN, error))

    def unwind(self) -> tuple[str, ...]:
        """Takes back what is due, for a node that does so; raises UnwindError."""
        self._processes.close_all(guards=False)
        self._unwound = True
        unwound = self._unwinding.release(succeeded=self._is_out())
        self.unwind_failures = unwound.failures
        unwound.raise_failures()
        return tuple(unwound.released)

    def finish(self) -> None:
        try:
            self._processes.close_all(guards=False)
            if not self._unwound and not self._schedule.unguarded():
                if self._schedule.work_is_done():
                    self.record_work_done()
                self.unwind_failures = self._unwinding.release(succeeded=self._is_out()).failures
        finally:
            self._processes.close_all(guards=True)

    def _is_out(self) -> bool:
        """Whether what the run holds was needed only for work that is done."""
        if self._schedule.work_is_done():
            return True
        try:
            return self._is_sealed()
        except SendenseError:
            return False  # it cannot be looked at now, so nothing is let go of now
