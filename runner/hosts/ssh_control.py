"""Asks an ssh that was started with ``-M``, on its control socket, to open forwards and to cancel them.

``ssh -O forward`` and ``-O cancel`` ask the same, and take 8 ms of CPU each, of which a night has ten. The
protocol is OpenSSH's PROTOCOL.mux, version 4: the same since 5.4 (2010), with unix sockets since 6.7.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from runner.base.units import KiB
from runner.base.waiting import LOOK, until

_HELLO, _VERSION = 1, 4
_LOCAL = 1
"""A forward from this side to the server's."""
_UNIX_SOCKET = 0xFFFFFFFE
"""Stands for a port where the host is a path (PORT_STREAMLOCAL in channels.h)."""
_VERBS = {"forward": 0x10000006, "cancel": 0x10000007}
_OK = 0x80000001
_NAMES = {0x80000002: "permission denied", 0x80000003: "failed"}
_LARGEST = 64 * KiB
"""Bytes of an answer: it has a sentence at most."""

_PORT = re.compile(r"(127\.0\.0\.1):(\d+)")

Verb = Literal["forward", "cancel"]


class Refused(Exception):
    """It answered that it does not."""


def ask(
    control: str, verb: Verb, pairs: Sequence[tuple[str, str]], timeout: float, stop: threading.Event
) -> None:
    """`pairs`: a socket here, and what it leads to at the server, a unix socket or ``127.0.0.1:port``. Raises
    Refused with ssh's words, TimeoutError if it does not answer within `timeout` seconds, another OSError if
    it is gone, Interrupted."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(control)
        answers = _answers(connection, time.monotonic() + timeout, stop)
        connection.sendall(_packet(_HELLO, _VERSION))
        if next(answers)[:2] != (_HELLO, _VERSION):
            raise Refused("it has another version of the protocol of its control socket")
        for number, (near, far) in enumerate(pairs):
            connection.sendall(_packet(_VERBS[verb], number, _LOCAL, *_address(near), *_address(far)))
            kind, _, rest = next(answers)
            if kind != _OK:
                raise Refused(_words(kind, rest))


def _address(where: str) -> tuple[str, int]:
    """Host and port."""
    found = _PORT.fullmatch(where)
    return (where, _UNIX_SOCKET) if found is None else (found[1], int(found[2]))


def _packet(*parts: int | str) -> bytes:
    content = b"".join(
        struct.pack(">I", part) if isinstance(part, int) else _string(part.encode()) for part in parts
    )
    return _string(content)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _answers(
    connection: socket.socket, deadline: float, stop: threading.Event
) -> Iterator[tuple[int, int, bytes]]:
    """Kind, number (of the request; of the version in a hello) and the rest of each."""
    received = bytearray()
    poll = select.poll()
    poll.register(connection, select.POLLIN)

    def receive(count: int) -> bytes:
        while len(received) < count:
            until(lambda: poll.poll(LOOK * 1000), stop=stop, timeout=deadline - time.monotonic(), pause=0)
            if not (content := connection.recv(_LARGEST)):
                raise ConnectionResetError("ssh hung up")
            received.extend(content)
        taken = bytes(received[:count])
        del received[:count]
        return taken

    while True:
        (length,) = struct.unpack(">I", receive(4))
        if not 8 <= length <= _LARGEST:
            raise Refused(f"it answered with {length} bytes")
        content = receive(length)
        kind, number = struct.unpack(">II", content[:8])
        yield kind, number, content[8:]


def _words(kind: int, rest: bytes) -> str:
    """`rest`: the reason, with its length."""
    return rest[4:].decode(errors="replace") or _NAMES.get(kind, f"it answered with {kind:#x}")
