"""One job in a process of its own, so that it has a core of its own and a crash is that job's alone.

Standard input carries the order, a line of JSON, and from then on is the process's lease: it stops in order,
as at SIGTERM, once that ends, however its controller ended. Standard output carries its events, a line each,
and as the last line ``{"ended": {"exit_code": …, "document": …}}``. What it says on standard error is for
people.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from runner.base.errors import Interrupted, SendenseError
from runner.hosts.limits import limit_of
from runner.hosts.process import exit_code_of
from runner.sets.placement import ChildEnded, Order, Told

# With -P, which a script has too, a directory `runner` where we are called is not taken for ours.
COMMAND = (sys.executable, "-P", "-m", "runner.cli.child")

ENDED = "ended"

TAKES_ITS_ORDER = 10.0
"""Seconds: a process starts in half a one."""

LAST_WORDS = 5.0
"""Seconds for what is still in its pipes once it is dead: what it started may have them open too."""

_STOPPED = (130, 128 + 1, 128 + 2, 128 + 15)
"""Exit codes of a process that was asked to stop before it could handle that."""

Said = Callable[[str, str], None]
"""``said(key, line)``: a line of its standard error, or about it; without a key, about where all run."""


class DiedError(SendenseError):
    """A job's process said nothing of its end."""

    def __init__(self, exit_code: int) -> None:
        how = (
            f"was killed by signal {exit_code - 128}"
            if exit_code > 128
            else f"ended with exit code {exit_code}"
        )
        super().__init__(f"the process that ran it {how} and said nothing of it: run it again to resume")


class ChildProcess:
    """Starts it; `told`, `said` and at last `done` are called from threads of its own. Raises SendenseError
    where it cannot be started."""

    def __init__(self, order: Order, told: Told, said: Said, done: Callable[[ChildEnded], None]) -> None:
        self._order = order
        self._told = told
        self._said = said
        self._done = done
        self._end: dict[str, Any] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        try:
            # A session of its own: Ctrl-C on our terminal is for us, and it stops when we end its lease.
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise limit_of(error) or SendenseError(
                f"its process could not be started: {error.strerror}"
            ) from error
        heard = [threading.Thread(target=hear, daemon=True) for hear in (self._order_and_hear, self._pass_on)]
        try:
            for thread in (*heard, threading.Thread(target=self._await_end, args=(heard,), daemon=True)):
                thread.start()
        except RuntimeError as error:
            self._process.kill()  # it has no order yet
            raise limit_of(error) or error from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Asks it to stop in order; twice is fine. It ends, and that is told."""
        self._is_stopped = True
        if not self._lock.acquire(timeout=TAKES_ITS_ORDER):
            self._process.kill()  # frozen, before it had its whole order: it has done nothing
            return
        try:
            with suppress(OSError):
                self._stdin.close()
        finally:
            self._lock.release()

    def kill(self) -> None:
        """For one that does not heed `stop`. Its records say how far it came."""
        self._process.kill()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _order_and_hear(self) -> None:
        # From here: the pipe of a process that has not started yet holds 64 KiB, and a job may be longer.
        with self._lock, suppress(OSError, ValueError):  # it died, or was stopped
            self._stdin.write(self._order.model_dump_json().encode() + b"\n")
            self._stdin.flush()
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            try:
                for line in lines:
                    self._hear(line)
            finally:
                for _ in lines:  # a bug in what listens must not keep it from its end
                    pass

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # torn: the last of a process that was killed
            return
        if ENDED in event:
            self._end = event[ENDED]
        else:
            self._told(self._order.key, event)

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._said(self._order.key, line.decode(errors="replace").rstrip("\n"))

    def _await_end(self, threads: list[threading.Thread]) -> None:
        exit_code = exit_code_of(self._process.wait())
        for thread in threads:
            thread.join(LAST_WORDS)
        self.stop()
        self._done(self._ended(exit_code))

    def _ended(self, exit_code: int) -> ChildEnded:
        key = self._order.key
        if self._end is not None:
            return ChildEnded(key, self._end["exit_code"], self._end["document"])
        if self._is_stopped and exit_code in _STOPPED:
            return ChildEnded(key, Interrupted.exit_code, error=Interrupted().message)
        died = DiedError(exit_code)
        return ChildEnded(key, died.exit_code, error=died.message)
