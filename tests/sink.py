"""A service that takes notices, on loopback: Apprise's `json://`. It may refuse them, or never answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORD = "geheim-4711"


@dataclass
class Sink:
    port: int = 0
    status: int = 200
    hangs: bool = False
    notices: list[dict[str, Any]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"json://user:{PASSWORD}@127.0.0.1:{self.port}/notices"

    @property
    def titles(self) -> list[str]:
        return [notice["title"] for notice in self.notices]


@contextmanager
def sink() -> Iterator[Sink]:
    found = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.hangs:
                found.ending.wait(60)
                return
            if found.status == 200:
                found.notices.append(json.loads(body))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.port = server.server_port
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        try:
            yield found
        finally:
            found.ending.set()
            server.shutdown()
            serving.join()
