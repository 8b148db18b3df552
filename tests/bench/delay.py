"""A TCP proxy on loopback that hands on each byte a fixed time after it came: ``python -m tests.bench.delay PORT SECONDS``.

It prints the port it listens on. Bytes keep their order and come through as fast as they are sent: a long wire, not a
narrow one. A process of its own, so that what it costs is not counted as the copy's.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque

_BUFFER = 4 * 1024 * 1024


class _Direction(asyncio.Protocol):
    """What comes from one side and goes to the other `delay` seconds later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
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
        self._under_way.append((self._loop.time() + self._delay, data))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._under_way.append((self._loop.time() + self._delay, None))
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


async def serve(port: int, delay: float) -> None:
    """Until it is ended; `delay` in seconds, of one direction."""
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    def accepted() -> _Direction:
        near = _Direction(delay)

        async def connect() -> None:
            _, far = await loop.create_connection(lambda: _Direction(delay), "127.0.0.1", port)
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
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
