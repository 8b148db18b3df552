"""How one speaks to a lab: a unix socket, one JSON document a line and one as the answer.

    {"do": "write", "vm": "DC1/vm/db", "disk": 2000, "offset": 0, "content": "<base64>"}
    {"do": "fault", "name": "http-503", "count": 2, "parameters": {}}
    {"do": "change", "vm": "DC1/vm/db", "name": "db2", "tag": "", "untag": "", "gone": false}
    {"do": "status"}
    {"do": "stop"}

The answer is {"done": …}, or {"error": "<a sentence>"} for what the asker can put right.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue

from runner.base.errors import SendenseError, UsageError

ANSWER_TIMEOUT = 30.0
"""A guest write may wait for a snapshot's merge, which holds the simulator's lock."""

LONGEST = 4 << 20
"""Bytes of a line: a guest write of 2 MiB in base64."""

Operation = Callable[..., JsonValue]


class NotAnswering(SendenseError):
    """Nothing answers at the socket: the lab does not run."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"the lab does not answer at {path}: {why}; start it again with `sendense lab start`"
        )


class Control:
    """Serves `operations` (by the word after "do", called with the other fields) at `path` while it is
    open."""

    def __init__(self, path: Path, operations: Mapping[str, Operation]) -> None:
        self._server = _Server(str(path), _Conversation)
        self._server.operations = operations
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="control", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    operations: Mapping[str, Operation]


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        while line := self.rfile.readline(LONGEST):
            self.wfile.write(json.dumps(_answer(self.server.operations, line)).encode() + b"\n")


def _answer(operations: Mapping[str, Operation], line: bytes) -> JsonValue:
    try:
        request: dict[str, Any] = json.loads(line)
        operation = operations[request.pop("do")]
        return {"done": operation(**request)}
    except SendenseError as error:
        return {"error": error.message}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"not a request to a lab: {type(error).__name__}: {error}"}


class Asking:
    """A connection to a lab's control socket."""

    def __init__(self, path: str) -> None:
        """Raises NotAnswering."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NotAnswering(path, error.strerror or str(error)) from error
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, do: str, **fields: JsonValue) -> Any:
        """What the lab answers. Raises UsageError with its sentence, NotAnswering."""
        try:
            self._socket.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            line = self._answers.readline(LONGEST)
        except OSError as error:
            raise NotAnswering(self._path, error.strerror or str(error)) from error
        if not line:
            raise NotAnswering(self._path, "it ended")
        answer = json.loads(line)
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer["done"]
