"""More connections for a disk, once so much of it has moved that they are worth what they cost.

What little is moved takes one connection, through the ssh process that all small work with a host shares.
Each further one to a source over HTTPS is a TLS handshake with the vCenter. One ssh leaves cores idle, and on
a long wire it has one TCP window: a disk of which much is moved gets others of its own. All are opened beside
the copy, which takes them as they come.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from runner.base.errors import Interrupted, SendenseError, is_transient
from runner.base.units import MiB
from runner.base.waiting import again
from runner.step.context import Context
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.qemu import nbd_server
from steps.values.wire import Wire

SOME = 16 * MiB
"""Bytes that have moved, and that are still to come at least, before there is more than one connection."""

MUCH = 64 * MiB
"""Bytes that have moved, and that are still to come at least. One ssh moves them in half a second on a short
wire, as long as a login takes with all that belongs to it; what moved much will most likely move more."""

ATTEMPTS = 4
PAUSE = 2.0
"""Seconds before the second attempt to open one, then twice as long each time. A vCenter that is busy for a
moment would else have a disk read through one connection for hours."""


class GrowingEndpoint(NbdEndpoint):
    """Begins with the first of `uris`, and gets the others once SOME bytes moved; where it leads over `wire`,
    it gets more ssh processes once MUCH did, which end with it. Raises as NbdEndpoint."""

    def __init__(self, ctx: Context, uris: Sequence[str], wire: Wire | None, name: str) -> None:
        self._ctx = ctx
        self._over = threading.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="more connections")
        self._closing = ExitStack()
        self._opening: list[Future[None]] = []
        super().__init__(uris[:1], name, stop=ctx.stop)
        self._to_come: list[tuple[int, Callable[[], None]]] = []
        """Bytes that have moved, and what is opened then; in order."""
        if len(uris) > 1 and self.takes_several:
            self._to_come.append((SOME, lambda: self._open(uris[1:])))
        if wire is not None and wire.ssh_processes > 1:
            self._to_come.append((MUCH, lambda: self._open(self._forwarded(wire))))

    def close(self) -> None:
        self._over.set()
        super().close()  # first, so that the goodbyes come through
        self._worker.shutdown()
        self._closing.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, at)
        if error is None:
            for opening in self._opening:
                opening.result()  # what is not for a warning is a bug, and a traceback

    def moved(self, done: int, left: int) -> None:
        """To be told now and then how many bytes went this way, and how many may yet. Returns at once."""
        while self._to_come and min(done, left) >= self._to_come[0][0]:
            self._opening.append(self._worker.submit(self._to_come.pop(0)[1]))

    def _open(self, uris: Iterable[str]) -> None:
        try:
            for uri in uris:
                self._open_one(uri)
        except Interrupted:
            return
        except SendenseError as error:
            self._ctx.warn(f"the {self.name} gets no more connections, which may make it slower: {error}")

    def _open_one(self, uri: str) -> None:
        again(
            lambda number: self.add(uri, stop=self._over),
            on=is_transient,
            stop=self._over,
            attempts=ATTEMPTS,
            first=PAUSE,
            longest=math.inf,
        )

    def _forwarded(self, wire: Wire) -> Iterator[str]:
        """Through ssh processes of its own."""
        host = self._ctx.host(wire.host).until(self._over)
        addresses = [wire.address] * (wire.ssh_processes - 1)
        forwards = self._closing.enter_context(host.forward(addresses, dedicated=True))
        uris = [nbd_server.uri(socket, wire.export) for socket in forwards.sockets]
        yield from uris * wire.connections_each


def most_connections(wire: Wire | None, uris: Sequence[str]) -> int:
    """How many a copy may come to have that begins with `uris`."""
    return len(uris) if wire is None else max(len(uris), wire.connections)
