"""The HTTPS endpoint: /sdk for SOAP, /folder for files, /api and /rest for tags. One thread a connection;
keep-alive, TLS, loopback only."""

from __future__ import annotations

import re
import ssl
from email.utils import formatdate

from runner.base.units import MiB
from steps.lab.simulator.access import Access, Admission
from steps.lab.simulator.dispatch import AnswerLost, Dispatcher
from steps.lab.simulator.folder import Datastores, Listing, Refused, store
from steps.lab.simulator.https_server import CHUNK, HttpsHandler, HttpsServer
from steps.lab.simulator.nfc.transfers import Transfers
from steps.lab.simulator.objects import World
from steps.lab.simulator.rawfile import RawFile
from steps.lab.simulator.traffic import Traffic
from steps.lab.simulator.vapi import Request, Vapi

LONGEST_SOAP = 16 * MiB

_ZEROES = memoryview(bytes(CHUNK))
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

VERSIONS = b"""<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0"><namespace><name>urn:vim25</name><version>8.0.3.0</version><priorVersions>
<version>8.0.2.0</version><version>8.0.1.0</version><version>8.0.0.0</version><version>7.0.3.0</version>
<version>7.0.0.0</version><version>6.7</version><version>6.5</version><version>6.0</version>
</priorVersions></namespace></namespaces>
"""


class Endpoint(HttpsServer):
    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        world: World,
        access: Access,
        dispatcher: Dispatcher,
        datastores: Datastores,
        vapi: Vapi,
        transfers: Transfers,
        traffic: Traffic,
    ) -> None:
        self.world = world
        self.access = access
        self.dispatcher = dispatcher
        self.datastores = datastores
        self.vapi = vapi
        self.transfers = transfers
        self.traffic = traffic
        super().__init__(port, context, Handler)


class Handler(HttpsHandler):
    server: Endpoint

    def _is_under_lease(self) -> bool:
        """An ESXi host takes disks at the port where it answers everything else."""
        return self.server.world.esxi and self.path.startswith("/ha-nfc/")

    # SOAP

    def do_POST(self) -> None:  # noqa: N802  (http.server's name)
        if self._is_under_lease():
            return self.server.transfers.serve(self)
        if self.server.vapi.serves(self.path):
            return self._rest()
        if not self.path.startswith("/sdk"):
            return self.empty(404, close=True)
        body = self._whole_body()
        if body is None:
            return self.empty(413, close=True)
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
        return self.send(answer.status, answer.body, "text/xml; charset=utf-8", cookie=answer.cookie)

    def _rest(self) -> None:
        body = self._whole_body()
        if body is None:
            return self.empty(413, close=True)
        request = Request(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
        status, content = self.server.vapi.answer(request)
        return self.send(status, content, "application/json")

    def _whole_body(self) -> bytes | None:
        """None if it is too long."""
        body = bytearray()
        for chunk in self.body():
            body += chunk
            if len(body) > LONGEST_SOAP:
                return None
        return bytes(body)

    # files

    def do_GET(self) -> None:  # noqa: N802  (http.server's name)
        if self._is_under_lease():
            return self.server.transfers.serve(self)
        if self.path == "/sdk/vimServiceVersions.xml":
            return self.send(200, VERSIONS, "text/xml")
        return self._rest() if self.server.vapi.serves(self.path) else self._file()

    def do_HEAD(self) -> None:  # noqa: N802  (http.server's name)
        self._file()

    def do_PUT(self) -> None:  # noqa: N802  (http.server's name)
        if self._is_under_lease():
            return self.server.transfers.serve(self)
        return self._change()

    def do_DELETE(self) -> None:  # noqa: N802  (http.server's name)
        if self.server.vapi.serves(self.path):
            self._rest()
        else:
            self._change()

    def _admit(self) -> Admission:
        if self.path.split("?")[0].split("/")[1:2] != ["folder"]:
            raise Refused(404)
        with self.server.world.lock:
            self.server.traffic.calls[f"{self.command} /folder"] += 1
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
            return self.empty(refused.status)
        if isinstance(found, Listing):
            return self.send(200, found.page, "text/html; charset=utf-8", cookie=admission.cookie)
        with found:
            return self._send_file(found, admission.cookie)

    def _send_file(self, raw: RawFile, cookie: str | None) -> None:
        window = self._window(raw.size)
        if window is None:
            return self.empty(416, extra={"Content-Range": f"bytes */{raw.size}"})
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
                    self.server.traffic.served[str(raw.path)] += length
                self.connection.sendall(buffer[:length] if data else _ZEROES[:length])

    def _change(self) -> None:
        try:
            admission = self._admit()
            path = self.server.datastores.writable(self.path, as_host=admission.as_host)
            if self.command == "PUT":
                status = 201 if store(path, self.body()) else 200
            elif path.is_file():
                path.unlink()
                status = 204
            else:
                raise Refused(404)
        except Refused as refused:
            return self.empty(refused.status, close=True)  # its body, if any, was not read
        return self.empty(status, extra={"Set-Cookie": admission.cookie} if admission.cookie else None)

    # answers
