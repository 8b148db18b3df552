"""The HTTPS endpoint: /sdk for SOAP, /folder for files, /api and /rest for tags. One thread a connection;
keep-alive, TLS, loopback only."""

from __future__ import annotations

import logging
import re
import socket
import socketserver
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runner.base.errors import UsageError
from runner.base.units import MiB
from steps.lab.simulator.access import Access, Admission
from steps.lab.simulator.dispatch import AnswerLost, Dispatcher
from steps.lab.simulator.folder import Datastores, Listing, Refused, store
from steps.lab.simulator.objects import World
from steps.lab.simulator.rawfile import RawFile
from steps.lab.simulator.vapi import Request, Vapi

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0
LONGEST_SOAP = 16 * MiB
CHUNK = MiB
"""Bytes given to TLS at once: larger ones are no faster, smaller ones take Python more often."""

_ZEROES = memoryview(bytes(CHUNK))
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

VERSIONS = b"""<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0"><namespace><name>urn:vim25</name><version>8.0.3.0</version><priorVersions>
<version>8.0.2.0</version><version>8.0.1.0</version><version>8.0.0.0</version><version>7.0.3.0</version>
<version>7.0.0.0</version><version>6.7</version><version>6.5</version><version>6.0</version>
</priorVersions></namespace></namespaces>
"""


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        world: World,
        access: Access,
        dispatcher: Dispatcher,
        datastores: Datastores,
        vapi: Vapi,
        calls: Counter[str],
        served: Counter[str],
    ) -> None:
        self.context = context
        self.world = world
        self.access = access
        self.dispatcher = dispatcher
        self.datastores = datastores
        self.vapi = vapi
        self.calls = calls
        self.served = served
        self._connections: set[socket.socket] = set()
        self._all_closed = threading.Condition()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UsageError(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}") from error

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the name service who 127.0.0.1 is
        self.server_name, self.server_port = "localhost", self.server_address[1]

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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "VMware"
    sys_version = ""
    disable_nagle_algorithm = True  # a SOAP call takes 44 ms with Nagle's algorithm, 0.4 ms without
    server: Endpoint

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

    # SOAP

    def do_POST(self) -> None:
        if self.server.vapi.serves(self.path):
            return self._rest()
        if not self.path.startswith("/sdk"):
            return self._empty(404, close=True)
        body = self._whole_body()
        if body is None:
            return self._empty(413, close=True)
        try:
            answer = self.server.dispatcher.answer(
                body,
                action=self.headers.get("SOAPAction", ""),
                cookie=self.headers.get("Cookie"),
                address=str(self.client_address[0]),
                user_agent=self.headers.get("User-Agent", ""),
            )
        except AnswerLost:
            self.close_connection = True
            return None
        return self._send(answer.status, answer.body, "text/xml; charset=utf-8", cookie=answer.cookie)

    def _rest(self) -> None:
        body = self._whole_body()
        if body is None:
            return self._empty(413, close=True)
        request = Request(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
        status, content = self.server.vapi.answer(request)
        return self._send(status, content, "application/json")

    def _whole_body(self) -> bytes | None:
        """None if it is too long."""
        body = bytearray()
        for chunk in self._body():
            body += chunk
            if len(body) > LONGEST_SOAP:
                return None
        return bytes(body)

    def _body(self) -> Iterator[bytes]:
        """The request's body in chunks, whether its length is given or it is chunked (as govmomi sends
        it)."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline(100).split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline(100)
            while self.rfile.readline(65536).strip():
                pass
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left > 0:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionError("the client closed the connection in the middle of a body")
            left -= len(chunk)
            yield chunk

    # files

    def do_GET(self) -> None:
        if self.path == "/sdk/vimServiceVersions.xml":
            return self._send(200, VERSIONS, "text/xml")
        return self._rest() if self.server.vapi.serves(self.path) else self._file()

    def do_HEAD(self) -> None:
        self._file()

    def do_PUT(self) -> None:
        self._change()

    def do_DELETE(self) -> None:
        if self.server.vapi.serves(self.path):
            self._rest()
        else:
            self._change()

    def _admit(self) -> Admission:
        if self.path.split("?")[0].split("/")[1:2] != ["folder"]:
            raise Refused(404)
        with self.server.world.lock:
            self.server.calls[f"{self.command} /folder"] += 1
        headers = {
            name: self.headers[name]
            for name in ("Cookie", "Authorization", "User-Agent")
            if self.headers[name]
        }
        return self.server.access.admit(self.command, self.path, headers, str(self.client_address[0]))

    def _file(self) -> None:
        try:
            admission = self._admit()
            found = self.server.datastores.read(self.path, as_host=admission.as_host)
        except Refused as refused:
            return self._empty(refused.status)
        if isinstance(found, Listing):
            return self._send(200, found.page, "text/html; charset=utf-8", cookie=admission.cookie)
        with found:
            return self._send_file(found, admission.cookie)

    def _send_file(self, raw: RawFile, cookie: str | None) -> None:
        window = self._window(raw.size)
        if window is None:
            return self._empty(416, extra={"Content-Range": f"bytes */{raw.size}"})
        start, end, partial = window
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", formatdate(raw.path.stat().st_mtime, usegmt=True))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{raw.size}")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if partial and (cut := self.server.world.faults.take("http-cut")):
            self._send_bytes(raw, start, min(end, start + cut["after"]))
            self.close_connection = True
            return None
        return self._send_bytes(raw, start, end)

    def _window(self, size: int) -> tuple[int, int, bool] | None:
        """[start, end) and whether a Range asked for it; None where it lies outside the file."""
        match = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if match is None or not any(match.groups()):
            return 0, size, False
        first, last = match.groups()
        if not first:
            return (max(0, size - int(last)), size, True) if int(last) else None
        start, end = int(first), min(size, int(last) + 1 if last else size)
        return (start, end, True) if start < end else None

    def _send_bytes(self, raw: RawFile, start: int, end: int) -> None:
        buffer = memoryview(bytearray(min(CHUNK, max(0, end - start))))
        for first, last, data in raw.extents(start, end):
            for offset in range(first, last, CHUNK):
                length = min(CHUNK, last - offset)
                if data:
                    raw.read_into(offset, buffer[:length])
                # Before they are sent: what breaks off in the middle was read at the source all the same.
                with self.server.world.lock:
                    self.server.served[str(raw.path)] += length
                self.connection.sendall(buffer[:length] if data else _ZEROES[:length])

    def _change(self) -> None:
        try:
            admission = self._admit()
            path = self.server.datastores.writable(self.path, as_host=admission.as_host)
            if self.command == "PUT":
                status = 201 if store(path, self._body()) else 200
            elif path.is_file():
                path.unlink()
                status = 204
            else:
                raise Refused(404)
        except Refused as refused:
            return self._empty(refused.status, close=True)  # its body, if any, was not read
        return self._empty(status, extra={"Set-Cookie": admission.cookie} if admission.cookie else None)

    # answers

    def _send(self, status: int, body: bytes, kind: str, *, cookie: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _empty(self, status: int, *, close: bool = False, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="VMware HTTP server"')
        self.send_header("Content-Length", "0")
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
