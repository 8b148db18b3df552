"""A connection that nobody waits for: what has come by now is read, and what can be sent is sent."""

from __future__ import annotations

import select
import socket

from runner.base.units import KiB

PIECE = 64 * KiB


class Channel:
    """To a unix socket, or to ``127.0.0.1:34567``. Nothing that the other end does blocks, and nothing but
    `read` and `send` talks to it."""

    def __init__(self, address: str) -> None:
        self.ended = False
        """The other end closed it, or it could not be reached."""
        self._to_send = b""
        if address.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(_of(address))
        except BlockingIOError:
            pass  # TCP: what is read and sent says how it went
        except OSError:
            self.ended = True

    def wait(self, seconds: float) -> None:
        """Until something has come, or the other end closed it; no longer than that."""
        came = select.poll()
        came.register(self._socket, select.POLLIN)
        came.poll(1000 * seconds)

    def read(self, limit: int) -> bytes:
        """What has come, at most `limit` bytes of it; the rest waits, and so does who wrote it once the
        kernel's buffers are full."""
        self.send(b"")
        pieces: list[bytes] = []
        while limit > 0 and not self.ended:
            try:
                piece = self._socket.recv(min(limit, PIECE))
            except BlockingIOError:
                break
            except OSError:
                self.ended = True
                break
            self.ended = not piece
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)

    def send(self, content: bytes) -> None:
        """As much as the other end takes; the rest with the next call."""
        self._to_send += content
        while self._to_send and not self.ended:
            try:
                sent = self._socket.send(self._to_send)
            except BlockingIOError:
                break
            except OSError:
                self.ended = True
                break
            self._to_send = self._to_send[sent:]

    def close(self) -> None:
        self._socket.close()


def _of(address: str) -> str | tuple[str, int]:
    if address.startswith("/"):
        return address
    server, _, port = address.rpartition(":")
    return server, int(port)
