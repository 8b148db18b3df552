"""A TCP proxy on loopback for a long wire, and a narrow one: ``python -m tests.bench.delay PORT SECONDS [BYTES/S]``.

It prints the port it listens on. Each byte is handed on a fixed time after it came; with a rate, all connections share it in
each direction, and what comes faster waits. Bytes keep their order. A process of its own, so that what it costs is not
counted as the copy's.
"""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from collections import deque

_BUFFER = 4 * 1024 * 1024
_BURST = 0.1
"""Seconds that what waits for the rate may take; then no more is read from the sender."""


class Bucket:
    """Bytes a second of one direction, for all connections together: when what comes now is through."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def through(self, now: float, length: int) -> float:
        self._free_at = max(now, self._free_at) + length / self._rate
        return self._free_at


class _Direction(asyncio.Protocol):
    """What comes from one side and goes to the other `delay` seconds later."""

    def __init__(self, delay: float, bucket: Bucket) -> None:
        self._delay = delay
        self._bucket = bucket
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.other: _Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        through = self._bucket.through(now, len(data))
        self._under_way.append((through + self._delay, data))
        if through > now + _BURST:
            assert self.transport is not None
            self.transport.pause_reading()
            self._loop.call_at(through - _BURST, self._resume)
        self._wake()

    def _resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        last = self._under_way[-1][0] if self._under_way else 0.0
        self._under_way.append((max(last, self._loop.time() + self._delay), None))
        self._wake()

    def _wake(self) -> None:
        if self._timer is None and self._under_way and self.other is not None:
            self._timer = self._loop.call_at(self._under_way[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        assert self.other is not None and self.other.transport is not None
        due: list[bytes] = []
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            data = self._under_way.popleft()[1]
            if data is None:
                self.other.transport.write(b"".join(due))
                self.other.transport.close()
                return
            due.append(data)
        self.other.transport.write(b"".join(due))
        self._wake()

    def join(self, other: _Direction) -> None:
        self.other = other
        self._wake()


async def serve(port: int, delay: float, rate: float = math.inf) -> None:
    """Until it is ended; `delay` in seconds and `rate` in bytes a second, of one direction."""
    there, back = Bucket(rate), Bucket(rate)
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    def accepted() -> _Direction:
        near = _Direction(delay, there)

        async def connect() -> None:
            _, far = await loop.create_connection(lambda: _Direction(delay, back), "127.0.0.1", port)
            near.join(far)
            far.join(near)

        task = loop.create_task(connect())
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    server = await loop.create_server(accepted, "127.0.0.1", 0)
    for listening in server.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        print(listening.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *map(float, sys.argv[2:])))
