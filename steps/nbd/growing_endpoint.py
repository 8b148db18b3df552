"""More ssh processes for a disk, once so much of it has moved that they are worth their logins.

What little is moved goes through the ssh process that all small work with a host shares. One ssh leaves
cores idle, and on a long wire it has one TCP window: a disk of which much is moved gets others of its own,
opened beside the copy, which takes their connections as they come.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import MiB
from runner.step.context import Context
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.qemu import nbd_server
from steps.values.wire import Wire

MUCH = 64 * MiB
"""Bytes that have moved, and that are still to come at least. One ssh moves them in half a second on a short
wire, as long as a login takes with all that belongs to it; what moved much will most likely move more."""


class GrowingEndpoint(NbdEndpoint):
    """An endpoint that leads over `wire`, and gets more connections through ssh processes that end with it;
    without a wire it stays as it is. Raises as NbdEndpoint."""

    def __init__(self, ctx: Context, uris: Sequence[str], wire: Wire | None, name: str) -> None:
        self._ctx = ctx
        self._wire = wire if wire is not None and wire.ssh_processes > 1 else None
        self._over = threading.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="more connections")
        self._closing = ExitStack()
        self._opening: Future[None] | None = None
        super().__init__(uris, name, stop=ctx.stop)

    def close(self) -> None:
        self._over.set()
        super().close()  # first, so that the goodbyes come through
        self._worker.shutdown()
        self._closing.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, at)
        if self._opening is not None and error is None:
            self._opening.result()  # what is not for a warning is a bug, and a traceback

    def moved(self, done: int, left: int) -> None:
        """To be told now and then how many bytes went over the wire, and how many may yet. Returns at
        once."""
        if self._wire is None or min(done, left) < MUCH:
            return
        wire, self._wire = self._wire, None
        self._opening = self._worker.submit(self._open, wire)

    def _open(self, wire: Wire) -> None:
        host = self._ctx.host(wire.host).until(self._over)
        count = wire.ssh_processes - 1
        far = [wire.addresses[-1 - number % len(wire.addresses)] for number in range(count)]
        try:
            forwards = self._closing.enter_context(host.forward(far, dedicated=True))
            uris = [nbd_server.uri(socket, wire.export) for socket in forwards.sockets]
            for uri in uris * wire.connections_each:
                self.add(uri, stop=self._over)
        except Interrupted:
            return
        except SendenseError as error:
            self._ctx.warn(f"the {self.name} gets no more connections, which may make it slower: {error}")


def most_connections(wire: Wire | None, uris: Sequence[str]) -> int:
    """How many a copy may come to have that begins with `uris`."""
    return len(uris) if wire is None else max(len(uris), wire.connections)
