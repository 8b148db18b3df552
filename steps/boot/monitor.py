"""QEMU's monitor: QMP over a unix socket (documented: QEMU, docs/interop/qmp-spec.rst).

Nothing waits for ever: a command has a deadline, and ends with QEMU and with the stop. No guest can speak
here, but what it does makes events (RESET, BLOCK_IO_ERROR), so no more than the newest are kept.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from pydantic import JsonValue
from qemu.qmp import ConnectError, ExecuteError, Message, QMPClient, QMPError

from runner.base.errors import Interrupted
from runner.base.printable import printable
from runner.base.waiting import LOOK, NEVER, PAUSE, until
from runner.hosts.host import Child
from steps.boot.errors import BootError
from steps.boot.last_words import ended, last_words
from steps.boot.running import MonitorEvent

ANSWER_TIMEOUT = 30.0
"""Seconds for a command. Each takes milliseconds; QEMU may wait for a busy disk of its host meanwhile."""

LAST_WORDS = 2.0
"""Seconds for the end of QEMU to be told, once its monitor fell silent."""

MOST_EVENTS = 4096
"""Kept between two calls: a guest that resets itself over and over makes some ten a second."""

ResultT = TypeVar("ResultT")

# It logs what it also raises, and Python prints that where nobody listens.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


class QemuMonitor:
    """A `steps.boot.running.Monitor`, for one thread at a time."""

    def __init__(self, child: Child, stop: threading.Event) -> None:
        self._child = child
        self._stop = stop
        self._runner = asyncio.Runner()
        self._client = QMPClient("sendense")
        self._events: deque[MonitorEvent] = deque(maxlen=MOST_EVENTS)
        # Its own queue and history of events have no bound.
        self._client.events.event_filter = self._note

    def connect(self, socket: str, timeout: float) -> None:
        """Returns once QEMU has made its machine: only then does it greet. Raises BootError, Interrupted."""
        ends = time.monotonic() + timeout
        while True:
            try:
                left = ends - time.monotonic()
                self._finish(self._client.connect(socket), "start", left)
            except ConnectError as error:
                # The socket is there a moment before QEMU listens.
                if self._child.poll() is not None or time.monotonic() > ends:
                    raise self._lost(error) from error
                if self._stop.wait(PAUSE):
                    raise Interrupted from error
            else:
                return

    def execute(self, command: str, **arguments: JsonValue) -> JsonValue:
        asked = self._client.execute(command, cast("dict[str, object]", arguments))
        try:
            return cast("JsonValue", self._finish(asked, f"answer `{command}`", ANSWER_TIMEOUT))
        except ExecuteError as error:
            said = printable(str(error))
            raise BootError(f"QEMU on {self._child.host} refuses `{command}`: {said}") from error
        except (QMPError, OSError, EOFError) as error:
            raise self._lost(error) from error

    def events(self) -> tuple[MonitorEvent, ...]:
        """Raises BootError once QEMU is gone and all events were told, Interrupted."""
        try:
            # Those that came so far stand before its answer.
            self.execute("query-status")
        except BootError:
            if not self._events:
                raise
        found = tuple(self._events)
        self._events.clear()
        return found

    def close(self) -> None:
        with suppress(QMPError, OSError, EOFError, TimeoutError):
            # A connection that broke says so here once more.
            self._runner.run(asyncio.wait_for(self._client.disconnect(), 2.0))
        self._runner.close()

    def _note(self, event: Message) -> bool:
        data = cast("dict[str, JsonValue]", event.get("data", {}))
        self._events.append(MonitorEvent(str(event["event"]), data))
        return False

    def _finish(self, work: Coroutine[Any, Any, ResultT], what: str, timeout: float) -> ResultT:
        return self._runner.run(self._watched(work, what, time.monotonic() + timeout))

    async def _watched(self, work: Coroutine[Any, Any, ResultT], what: str, ends: float) -> ResultT:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK))[0]:
                if self._stop.is_set():
                    raise Interrupted
                if self._child.poll() is not None:
                    raise ended(self._child)
                if time.monotonic() > ends:
                    raise BootError(f"QEMU on {self._child.host} did not {what} in time")
            return task.result()
        finally:
            task.cancel()

    def _lost(self, error: BaseException) -> BootError:
        """The connection broke: QEMU ends in this moment, or what leads there does."""
        with suppress(TimeoutError):
            until(lambda: self._child.poll() is not None, stop=NEVER, timeout=LAST_WORDS)
            return ended(self._child)
        said = last_words(self._child) or printable(str(error)) or type(error).__name__
        return BootError(f"QEMU on {self._child.host} is not heard any more: {said}")


@contextmanager
def connected(child: Child, socket: str, timeout: float, stop: threading.Event) -> Iterator[QemuMonitor]:
    """What leads to QEMU's monitor is `socket`, which is there already. Raises BootError with QEMU's own
    words if it does not start within `timeout` seconds, Interrupted."""
    monitor = QemuMonitor(child, stop)
    try:
        monitor.connect(socket, timeout)
        yield monitor
    finally:
        monitor.close()
