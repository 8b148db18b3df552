"""An HTTPS server on loopback: one thread a connection, keep-alive, TLS; what its endpoints share."""

from __future__ import annotations

import logging
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runner.base.errors import UsageError
from runner.base.units import MiB

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0
STOP_TIMEOUT = 1.0
CHUNK = MiB
"""Bytes given to TLS at once: larger ones are no faster, smaller ones take Python more often."""


class HttpsServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, context: ssl.SSLContext, handler: type[HttpsHandler]) -> None:
        """`port` 0: any that is free. Raises UsageError where it is not."""
        self.context = context
        self._connections: set[socket.socket] = set()
        self._all_closed = threading.Condition()
        try:
            super().__init__(("127.0.0.1", port), handler)
        except OSError as error:
            raise UsageError(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}") from error

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the name service who 127.0.0.1 is
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def shutdown(self) -> None:
        """Without waiting for the next look at whether it is to stop: a connection wakes it."""
        ending = threading.Thread(target=super().shutdown, name="shutdown")
        ending.start()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_port), STOP_TIMEOUT).close()
        ending.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            log.debug("a connection from %s ended badly", client_address, exc_info=True)
        else:
            log.error("a request from %s met a bug", client_address, exc_info=True)

    def opened(self, connection: socket.socket) -> None:
        with self._all_closed:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._all_closed:
            self._connections.discard(connection)
            self._all_closed.notify_all()

    def close_connections(self, timeout: float) -> None:
        """Ends every connection and waits until their threads have closed them."""
        with self._all_closed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    log.debug("a connection was closed already")
            self._all_closed.wait_for(lambda: not self._connections, timeout)


class HttpsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "VMware"
    sys_version = ""
    disable_nagle_algorithm = True  # a SOAP call takes 44 ms with Nagle's algorithm, 0.4 ms without
    server: HttpsServer

    def setup(self) -> None:
        """The handshake happens here, in the connection's own thread: a silent client holds up nobody."""
        self.request.settimeout(HANDSHAKE_TIMEOUT)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.request.settimeout(None)
        self.server.opened(self.request)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.request.close()
            self.server.closed(self.request)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the base class's name)
        log.debug(format, *arguments)

    def body(self) -> Iterator[bytes]:
        """The request's body in chunks, whether its length is given or it is chunked (as govmomi sends
        it)."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := self._chunk_size():
                yield from self._exactly(size)
                self.rfile.readline(100)
            while self.rfile.readline(65536).strip():
                pass
            return
        yield from self._exactly(int(self.headers.get("Content-Length", "0")))

    def _chunk_size(self) -> int:
        try:
            return int(self.rfile.readline(100).split(b";")[0], 16)
        except ValueError as error:
            raise ConnectionError("a chunked body ended where the size of a chunk was expected") from error

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left > 0:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionError("the client closed the connection in the middle of a body")
            left -= len(chunk)
            yield chunk

    def send(self, status: int, body: bytes, kind: str, *, cookie: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def empty(self, status: int, *, close: bool = False, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="VMware HTTP server"')
        self.send_header("Content-Length", "0")
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
