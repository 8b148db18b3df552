"""A port of the guest that is heard at all times, whatever else is looked at meanwhile."""

from __future__ import annotations

import threading

from runner.base import workers
from runner.base.units import MiB
from runner.base.waiting import LOOK
from steps.watch.channel import Channel

ROOM = 1 * MiB
"""Bytes that are heard ahead of those who look. A real port at 115,200 baud says 5 KiB between two looks; a
guest that floods waits meanwhile, which bounds what it costs."""

PACE = 0.005
"""Seconds between two readings. QEMU writes byte by byte, and its socket is full after 278 of them (tried
with 7.2): so a guest can say 55 KB a second, five times what a port at 115,200 baud can, and we are not woken
for each byte."""

CLOSING = 5.0
"""Seconds for the thread to see that it is to end."""


class Listener:
    def __init__(self, address: str) -> None:
        self._channel = Channel(address)
        self._heard = bytearray()
        self._lock = threading.Lock()
        self._close = threading.Event()
        self._closed = threading.Event()
        workers.start(self._listen, "serial port")

    @property
    def ended(self) -> bool:
        """Nothing more will come: its other end is closed."""
        return self._closed.is_set()

    @property
    def full(self) -> bool:
        """A guest that says more waits until it is taken."""
        return len(self._heard) >= ROOM

    def take(self) -> bytes:
        """What came since the last call; at most ROOM bytes of it."""
        with self._lock:
            heard = bytes(self._heard)
            self._heard.clear()
        return heard

    def close(self) -> None:
        self._close.set()
        self._closed.wait(CLOSING)

    def _listen(self) -> None:
        try:
            while not self._channel.ended and not self._close.wait(PACE):
                self._channel.wait(LOOK)
                self._hear()
        finally:
            self._channel.close()
            self._closed.set()

    def _hear(self) -> None:
        room = ROOM - len(self._heard)  # only `take` changes it meanwhile, and makes it larger
        came = self._channel.read(room) if room else b""
        with self._lock:
            self._heard += came
