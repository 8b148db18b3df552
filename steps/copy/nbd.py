"""Connections over NBD. libnbd is used here only, by its asynchronous calls (libnbd(3), "Issuing asynchronous
commands").

URIs are those of the NBD URI specification: ``nbd+unix:///<export>?socket=<path>``,
``nbd://127.0.0.1:<port>/<export>``.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runner.base.errors import Interrupted
from runner.base.units import MiB
from runner.base.waiting import LOOK, NEVER, until
from runner.step.tools import Binding
from steps.copy.endpoint import (
    MAX_REQUEST,
    Abilities,
    Answered,
    ConnectFailed,
    CopyError,
    Done,
    RequestFailed,
)
from steps.copy.extents import Extent, merge

try:
    import nbd

    _MISSING = "" if hasattr(nbd, "NBD") else f"{nbd.__file__} is another package of that name"
except ImportError as _error:  # what needs no connection works without it: help, validate, steps
    _MISSING = str(_error)


@dataclass(frozen=True)
class ExportInfo(Abilities):
    """What `probe` answers, by the name NBD gives it."""

    round_trip: float
    """Seconds from a small request to its answer, while nothing else was under way; 0 if it was not
    measured."""


_POLL_FOR = (0, select.POLLIN, select.POLLOUT, select.POLLIN | select.POLLOUT)
"""By what nbd_aio_get_direction(3) answers."""

_ZEROES = memoryview(bytes(MiB))
_SEND_BUFFER = 2 * MiB
"""Of a unix socket, for two requests. By default it takes 208 KiB, and each MiB is sent in eight system calls
with a wake-up before each; Linux gives twice what is asked for up to net.core.wmem_max, so at least twice
the default (socket(7))."""

_ROUND_TRIPS = 3
"""Are measured at most, for the shortest of them: a busy machine makes single ones longer."""
_SHORT = 0.001
"""Seconds: no need to look again."""
CLOSE_TIMEOUT = 1.0
"""Seconds for a server to take our goodbyes, on all its connections; one that hangs is left as it is."""


OPEN_TIMEOUT = 120.0
"""Seconds for a server's answer. nbdkit opens its disk again for each connection, and VMware's library takes
long for that: a login, a ticket, and connections to two machines ("Connecting and disconnecting … can also be
very slow", nbdkit-vddk-plugin(1)). A server that died is told at once all the same; this is only for one that
is silent."""


class LibnbdMissing(CopyError):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"libnbd's Python binding is missing for {sys.executable} ({why}): `apt install python3-libnbd`, "
            "and run sendense with the distribution's Python, in a virtual environment made by "
            "`/usr/bin/python3 -m venv --system-site-packages`"
        )


def version() -> str:
    """Of libnbd, such as ``1.14.2``. Raises LibnbdMissing."""
    if _MISSING:
        raise LibnbdMissing(_MISSING)
    return str(nbd.NBD().get_version())


LIBNBD = Binding("libnbd's Python binding", lambda: f"libnbd {version()}")


def probe(
    uri: str,
    timeout: float,
    name: str = "the export",
    *,
    stop: threading.Event = NEVER,
    measure: bool = False,
) -> ExportInfo:
    """What a handshake says. An open socket proves nothing: a forward accepts and then drops what it may not
    forward. To `measure` the round trip costs three at most.

    Raises ConnectFailed after at most `timeout` seconds, Interrupted.
    """
    channel = NbdChannel(uri, name, "probe", timeout, stop)
    try:
        took = _round_trip(channel, timeout, stop) if measure else 0.0
        return ExportInfo(**vars(channel.abilities), round_trip=took)
    finally:
        channel.close()


def _round_trip(channel: NbdChannel, timeout: float, stop: threading.Event) -> float:
    shortest = timeout
    for _ in range(_ROUND_TRIPS):
        if (shortest := min(shortest, channel.answer_time(timeout, stop))) < _SHORT:
            break
    return shortest


class NbdChannel:
    def __init__(
        self, uri: str, name: str, label: str, timeout: float, stop: threading.Event = NEVER
    ) -> None:
        self.name = name
        self.label = label
        self.uri = uri
        self.in_flight = 0
        self._parting = False
        self._settled: deque[Callable[[], None]] = deque()
        if _MISSING:
            raise LibnbdMissing(_MISSING)
        self._handle: Any = nbd.NBD()
        self._handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        # Else libnbd fills each buffer with zeroes before it reads into it (nbd_set_pread_initialize(3)): all
        # bytes are written once more. What a read that failed left in one is never looked at.
        self._handle.set_pread_initialize(False)
        try:
            self._connect(uri, timeout, stop)
            self._descriptor = int(self._handle.aio_get_fd())
            _widen(self._descriptor)
            self.abilities = self._ask_abilities()
        except nbd.Error as error:
            self._handle = None
            raise ConnectFailed(name, uri, error.string) from error
        except (ConnectFailed, Interrupted):
            self._handle = None
            raise

    def _connect(self, uri: str, timeout: float, stop: threading.Event) -> None:
        def late() -> ConnectFailed:
            silent = f"it accepted the connection but sent nothing for {timeout:.0f} s"
            return ConnectFailed(self.name, uri, silent)

        def is_through() -> bool:
            if self._handle.aio_is_connecting():
                self._wait(min(timeout, LOOK))
            return not self._handle.aio_is_connecting()

        self._handle.aio_connect_uri(uri)
        until(is_through, stop=stop, timeout=timeout, late=late, pause=0)
        if not self._handle.aio_is_ready():
            raise ConnectFailed(self.name, uri, "the server closed the connection")

    def _ask_abilities(self) -> Abilities:
        handle = self._handle
        limit = handle.get_block_size(nbd.SIZE_MAXIMUM)
        return Abilities(
            size=handle.get_size(),
            read_only=handle.is_read_only(),
            multi_conn=handle.can_multi_conn(),
            can_flush=handle.can_flush(),
            can_zero=handle.can_zero(),
            can_extents=handle.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION),
            max_request=min(limit or MAX_REQUEST, MAX_REQUEST),
        )

    def answer_time(self, timeout: float, stop: threading.Event) -> float:
        """Seconds until a query of extents is answered; none where the server has none. Raises ConnectFailed
        if it is not, Interrupted."""
        answered: list[RequestFailed | None] = []
        began = time.monotonic()
        self.extents(0, min(self.abilities.size, MiB), lambda extents, failed: answered.append(failed))

        def late() -> ConnectFailed:
            return ConnectFailed(self.name, self.uri, f"no answer to a request for {timeout:.0f} s")

        def has_answered() -> bool:
            if not self._settled:
                self._wait(min(timeout, LOOK))
            self.advance(0)
            return bool(answered)

        until(has_answered, stop=stop, timeout=timeout, late=late, pause=0)
        return time.monotonic() - began

    # the event loop's side

    def fileno(self) -> int:
        return self._descriptor

    def wanted(self) -> int:
        return 0 if self._settled else self._mask()

    def advance(self, ready: int) -> None:
        try:
            self._notify(ready)
        except nbd.Error:
            # A connection that broke: libnbd has ended each of its requests with ENOTCONN, which the
            # completions say.
            if self._alive():
                raise
        for _ in range(len(self._settled)):
            self.in_flight -= 1
            self._settled.popleft()()

    def _notify(self, ready: int) -> None:
        # A connection that broke is looked at by whichever of the two libnbd waits for.
        broken = ready & (select.POLLHUP | select.POLLERR | select.POLLNVAL)
        if ready & select.POLLIN or (broken and self._mask() & select.POLLIN):
            self._handle.aio_notify_read()
        # The answer to a read may end its need to write.
        if (ready & select.POLLOUT or broken) and self._mask() & select.POLLOUT:
            self._handle.aio_notify_write()

    def _mask(self) -> int:
        """What libnbd waits for now; a connection that ended waits for nothing."""
        return 0 if self._handle is None else _POLL_FOR[self._handle.aio_get_direction()]

    def _alive(self) -> bool:
        return self._handle is not None and not (self._handle.aio_is_dead() or self._handle.aio_is_closed())

    def _wait(self, seconds: float) -> None:
        """Until the server says something, at most `seconds`; raises nbd.Error."""
        poller = select.poll()
        poller.register(self._handle.aio_get_fd(), self._mask())
        for _, ready in poller.poll(seconds * 1000):
            self._notify(ready)

    # requests. libnbd takes buffers as they are; around each nbd.Buffer it leaks a reference, and so the
    # memory (1.14).

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        def issue(start: int, length: int, ended: Callable[[Any], int]) -> None:
            self._handle.aio_pread(into[start : start + length], offset + start, ended)

        self._submit("read", offset, len(into), self.abilities.max_request, issue, done)

    def write(self, offset: int, content: memoryview, done: Done) -> None:
        def issue(start: int, length: int, ended: Callable[[Any], int]) -> None:
            self._handle.aio_pwrite(content[start : start + length], offset + start, ended)

        self._submit("write", offset, len(content), self.abilities.max_request, issue, done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        def issue(start: int, length: int, ended: Callable[[Any], int]) -> None:
            if self.abilities.can_zero:
                self._handle.aio_zero(length, offset + start, ended)
            else:
                self._handle.aio_pwrite(_ZEROES[:length], offset + start, ended)

        limit = self.abilities.max_request
        if not self.abilities.can_zero:
            limit = min(limit, len(_ZEROES))
        self._submit("zero", offset, length, limit, issue, done)

    def flush(self, done: Done) -> None:
        self._submit("flush", 0, 0, 1, lambda start, length, ended: self._handle.aio_flush(ended), done)

    def extents(self, offset: int, length: int, answered: Answered) -> None:
        if not self.abilities.can_extents:
            self.in_flight += 1
            self._settled.append(lambda: answered([Extent(offset, length, False)], None))
            return
        self._ask_extents(offset, offset + length, [], answered)

    def _ask_extents(self, at: int, end: int, known: list[Extent], answered: Answered) -> None:
        """Asks from `at` on, again until the answers reach `end`: a server may answer for less than it was
        asked (NBD protocol, NBD_REPLY_TYPE_BLOCK_STATUS), and its last extent may reach beyond."""
        found: list[Extent] = []

        def entries(context: str, offset: int, pairs: list[int], error: Any) -> int:
            if context == nbd.CONTEXT_BASE_ALLOCATION:
                for length, flags in zip(pairs[::2], pairs[1::2], strict=True):
                    # Only the zero flag promises zeroes; a hole alone may read as anything (NBD protocol,
                    # base:allocation).
                    if offset < end:
                        length = min(length, end - offset)
                        found.append(Extent(offset, length, bool(flags & nbd.STATE_ZERO)))
                    offset += length
            return 0

        def done(failed: RequestFailed | None) -> None:
            if failed is None and (not found or found[-1].end <= at):
                failed = RequestFailed(self.name, "extents", at, end - at, errno.EPROTO)
            if failed is not None:
                answered([], failed)
                return
            extents = merge([*known, *found])
            if extents[-1].end < end:
                self._ask_extents(extents[-1].end, end, extents, answered)
            else:
                answered(extents, None)

        def issue(start: int, length: int, ended: Callable[[Any], int]) -> None:
            self._handle.aio_block_status(end - at, at, entries, ended)

        self._submit("extents", at, end - at, end - at, issue, done)

    def _submit(
        self,
        verb: str,
        offset: int,
        length: int,
        limit: int,
        issue: Callable[[int, int, Callable[[Any], int]], None],
        done: Done,
    ) -> None:
        """Issues [offset, offset + length) in requests of at most `limit` bytes; `done` once, with the first
        error."""
        starts = range(0, length, limit) if length else range(1)
        left = len(starts)
        number = 0

        def ended(error: Any) -> int:
            # libnbd holds its lock here: nothing of the handle may be called, hence the queue.
            nonlocal left, number
            left -= 1
            number = number or error.value
            if left == 0:
                failed = RequestFailed(self.name, verb, offset, length, number) if number else None
                self._settled.append(lambda: done(failed))
            return 1

        try:
            for start in starts:
                issue(start, min(limit, length - start), ended)
        except nbd.Error as error:
            # libnbd calls a request on a connection that broke an invalid argument.
            number = (error.errnum or errno.EIO) if self._alive() else errno.ENOTCONN
            raise RequestFailed(self.name, verb, offset, length, number) from error
        self.in_flight += 1

    def close(self) -> None:
        self.say_goodbye()
        self.hang_up(time.monotonic() + CLOSE_TIMEOUT)

    def say_goodbye(self) -> None:
        """If nothing is in flight; whatever is will be dropped."""
        if self._handle is None or self.in_flight or not self._handle.aio_is_ready():
            return
        with suppress(nbd.Error):  # the server was faster to hang up; nothing was in flight
            self._handle.aio_disconnect()
            self._parting = True

    def hang_up(self, deadline: float) -> None:
        """Once the server took the goodbye, at the deadline of `time.monotonic()` at the latest. Twice is
        fine."""
        if self._parting:
            with suppress(nbd.Error):  # as above
                while self._alive() and time.monotonic() < deadline:
                    self._wait(deadline - time.monotonic())
        self._parting, self._handle = False, None


def _widen(descriptor: int) -> None:
    # A TCP socket's grows by itself, unless it was set (tcp(7), tcp_wmem).
    with socket.socket(fileno=os.dup(descriptor)) as same:
        if same.family == socket.AF_UNIX:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
