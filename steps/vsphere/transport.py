"""HTTPS to a vCenter: answers of bounded size and bounded time, from any server. The only room that opens
such connections.

A timeout of a socket starts again with each byte, and a Content-Length is whatever the other side writes: a
server that sends a byte a second, or that announces 100 GB, held up a run for ever, or took its memory.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from socket import socket
from typing import Any

from runner.base.units import MINUTE, human_bytes, human_seconds

SILENCE = 120.0
"""Seconds without a byte of the answer. Calls that take long are tasks; the slowest others list changed
areas."""

ANSWER_DEADLINE = 3 * MINUTE
"""For the whole of an answer, its headers too: `SILENCE` and a minute, in which a line of 1 Mbit/s brings 7
MB. A page of changed areas has 0.2 MB, the configuration of a VM with 60 disks 0.3."""

_PIECE = 256 * 1024


class UnfitAnswer(Exception):
    """`str` says what it does, after ``the answer of vCenter X``: no honest one does, so that asking again is
    of no use."""


class Connection(HTTPSConnection):
    """Its answers come in time, or not at all."""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self.silence = timeout
        self.response_class = _Timed

    @property
    def certificate(self) -> Mapping[str, Any]:
        """Of the server, as `ssl.SSLSocket.getpeercert` gives one that was verified."""
        return self.sock.getpeercert() or {}

    def request(self, *args: Any, **more: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.silence)  # the last answer's reads may have left less
        super().request(*args, **more)


class WrongCertificate(OSError):
    """`found`: the SHA-1 thumbprint of the certificate that was shown, ``AB:CD:…``."""

    def __init__(self, found: str) -> None:
        super().__init__(f"another certificate ({found})")
        self.found = found


class LongConnection(HTTPSConnection):
    """For what has any length, such as disks: `timeout` is the longest silence, and the whole has none. The
    server is who `context` says, or who has the certificate of that SHA-1 `thumbprint`, which is compared
    before anything is sent."""

    def __init__(
        self, host: str, port: int, timeout: float, context: ssl.SSLContext | None, thumbprint: str
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context or _of_anybody())
        self._thumbprint = thumbprint.replace(":", "").lower()

    def connect(self) -> None:
        """Raises WrongCertificate, OSError."""
        super().connect()
        if self._thumbprint:
            found = hashlib.sha1(self.sock.getpeercert(True) or b"", usedforsecurity=False).hexdigest()
            if not hmac.compare_digest(found, self._thumbprint):
                self.close()
                raise WrongCertificate(found.upper())


def _of_anybody() -> ssl.SSLContext:
    """Where the thumbprint alone says who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Timed(HTTPResponse):
    """Whatever reads of it, has until `ANSWER_DEADLINE` after it was asked for."""

    def __init__(self, sock: socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        assert isinstance(self.fp, io.BufferedReader)
        self.fp = io.BufferedReader(_Deadline(self.fp.detach(), sock, ANSWER_DEADLINE))


class _Deadline(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket, seconds: float) -> None:
        self._raw = raw
        self._sock = sock
        self._seconds = seconds
        self._silence = sock.gettimeout() or seconds
        self._ends = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(min(self._silence, left))
            return self._raw.readinto(buffer)
        except TimeoutError as error:
            if left > self._silence:
                raise
            raise HTTPException(f"its answer did not end within {human_seconds(self._seconds)}") from error

    def close(self) -> None:
        self._raw.close()
        super().close()


def read(answer: HTTPResponse, limit: int) -> bytes:
    """The body whole. Raises UnfitAnswer for one over `limit` bytes, HTTPException for one that was cut,
    OSError."""
    too_large = UnfitAnswer(f"has more than {human_bytes(limit)}, which no answer to this has")
    if (answer.length or 0) > limit:  # as Content-Length says
        raise too_large
    pieces, size = [], 0
    while piece := answer.read(min(_PIECE, limit + 1 - size)):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise too_large
    if answer.length:
        raise HTTPException(f"its answer ended after {size} of {size + answer.length} bytes")
    return b"".join(pieces)


@dataclass(frozen=True)
class Answer:
    """`certificate`: the server's, as it was verified."""

    status: int
    content: bytes
    certificate: Mapping[str, Any]


def ask(
    connection: Connection,
    method: str,
    target: str,
    *,
    limit: int,
    headers: Mapping[str, str],
    body: str | bytes = b"",
) -> Answer:
    """The answer with its content whatever its status. Raises as `get`; the connection is closed then."""
    try:
        content = body.encode() if isinstance(body, str) else body
        connection.request(method, target, body=content or None, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, read(answer, limit), {})
    except BaseException:
        connection.close()
        raise


def get(
    host: str,
    port: int,
    context: ssl.SSLContext,
    target: str,
    *,
    limit: int,
    timeout: float,
    method: str = "GET",
    headers: Mapping[str, str] = {},
) -> Answer:
    """The content of an answer with status 200 only. Raises UnfitAnswer for one over `limit` bytes,
    HTTPException, OSError."""
    with closing(Connection(host, port, timeout=timeout, context=context)) as connection:
        connection.connect()
        certificate = connection.certificate
        connection.request(method, target, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, read(answer, limit) if answer.status == 200 else b"", certificate)
