"""A TLS server that answers as no vCenter does: each request gets whatever a test says."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from steps.lab.simulator import certificate
from steps.lab.simulator.endpoint import VERSIONS
from steps.vsphere.section import VCenter

Send = Callable[[bytes], None]
Script = Callable[[Send], None]
"""Sends an answer, its status line and headers too; whoever hangs up ends it by an OSError."""


def whole(body: bytes, status: str = "200 OK", headers: str = "") -> Script:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
    return lambda send: send(head + body)


VERSION_DOCUMENT = whole(VERSIONS)


@contextmanager
def server(
    directory: Path, *, soap: Script, versions: Script = VERSION_DOCUMENT, files: Script = VERSION_DOCUMENT
) -> Iterator[VCenter]:
    """As a job's vCenter: `soap` answers calls, `versions` the document that a login reads first, `files` /folder."""
    made = certificate.make(directory / "tls")
    context = made.context()
    (directory / "password").write_text("secret\n")

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as secured:
                while request := _request(secured):
                    verb, path = request.split()[:2]
                    script = soap if verb == b"POST" else files if path.startswith(b"/folder") else versions
                    script(secured.sendall)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield VCenter.from_json_value(
            {
                "server": "127.0.0.1",
                "port": listening.server_address[1],
                "username": "backup",
                "password": {"file": str(directory / "password")},
                "tls": {"ca": str(made.ca)},
            }
        )
        listening.shutdown()
        thread.join(10)


def _request(secured: ssl.SSLSocket) -> bytes:
    """Whole, with its body; empty once the client is done."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        if not (piece := secured.recv(65536)):
            return b""
        seen += piece
    head, _, body = seen.partition(b"\r\n\r\n")
    lines = (line.lower().partition(b":") for line in head.split(b"\r\n"))
    left = next((int(value) for name, _, value in lines if name == b"content-length"), 0) - len(body)
    while left > 0:
        left -= len(secured.recv(65536))
    return head
