"""events.jsonl: the events of a run, one JSON document a line, on the machine of the runner."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import JsonValue, TypeAdapter, ValidationError

from runner.base.errors import StateError
from runner.base.units import GiB, MiB
from runner.events.events import (
    EVENTS_SCHEMA_VERSION,
    AnyEvent,
    Event,
    NodeFailed,
    NodeFinished,
    NodeProgress,
    NodeRetrying,
    RunFinished,
    RunStarted,
)
from runner.hosts.files import THIS_MACHINE
from runner.hosts.regular_file import read_pieces

LARGEST = 1 * GiB
"""Bytes of a file of events: fourteen hours of a copy leave a thousand lines."""

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


class Thinning:
    """Which progress events are worth keeping: a copy reports several hundred a second.

    The first and the last of each node's phase, and between them one in 1 % of the phase's age, at least 0.2
    s apart: a copy of ten seconds leaves fifty, one of 14 hours about 900, enough for a curve of it.
    """

    SHARE = 0.01
    AT_LEAST = 0.2  # seconds

    def __init__(self) -> None:
        self._began: dict[tuple[str, str, str], datetime] = {}
        self._kept: dict[tuple[str, str, str], datetime] = {}
        self._pending: dict[str, NodeProgress] = {}

    def __call__(self, event: Event) -> list[Event]:
        """The events to keep now: `event` or nothing, or before it a progress that was put off and is the
        last one."""
        if isinstance(event, NodeProgress):
            return self._progress(event)
        if isinstance(event, NodeFinished | NodeFailed | NodeRetrying):
            last = self._pending.pop(event.node, None)
            self._forget(event.node)
            return [last, event] if last else [event]
        if isinstance(event, RunFinished):
            left = list(self._pending.values())
            self._pending.clear()
            return [*left, event]
        return [event]

    def _progress(self, event: NodeProgress) -> list[Event]:
        key = (event.node, event.label, event.phase)
        kept: list[Event] = []
        last = self._pending.get(event.node)
        # It went on to the next phase, so what was put off was the last of the one before.
        if last is not None and (last.node, last.label, last.phase) != key:
            kept.append(self._pending.pop(event.node))
        began = self._began.setdefault(key, event.at)
        apart = max(self.AT_LEAST, self.SHARE * (event.at - began).total_seconds())
        if key not in self._kept or (event.at - self._kept[key]).total_seconds() >= apart:
            self._kept[key] = event.at
            self._pending.pop(event.node, None)
            kept.append(event)
        else:
            self._pending[event.node] = event
        return kept

    def _forget(self, node: str) -> None:
        for times in (self._began, self._kept):
            for key in [key for key in times if key[0] == node]:
                del times[key]


class Journal:
    """A listener that appends to `path` (made 0600), each line whole and at once; `close` makes it durable.

    A full disk must not keep the engine from its work: after the first failure nothing more is written, and
    `failure` says so. A resumed run appends to the same file; the torn last line of a killed one is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thin = Thinning()
        self.failure: str | None = None
        """Why what stands there is not all, a sentence."""
        self._closed = False
        try:
            # O_APPEND: of two writers each line is whole. To be read too, for the torn line of a killed run.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot write events to {path}: {error.strerror}") from error
        self._cut_torn_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        for kept in self._thin(event):
            self._append(kept.model_dump_json().encode() + b"\n")

    def line(self, document: Mapping[str, JsonValue]) -> None:
        """An event of another process, which has thinned them."""
        self._append(json.dumps(document).encode() + b"\n")

    def close(self) -> None:
        self._closed = True
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EROFS):  # a pipe or a device, see fsync(2)
                self._fail(error)
        with suppress(OSError):  # close(2) tells late what fsync(2) has told
            os.close(self._fd)

    def _append(self, line: bytes) -> None:
        # After a failure not even what would fit: a journal with a hole reads as a run that never was.
        if self._closed or self.failure is not None:
            return
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        room = ", make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        self.failure = self.failure or f"{self.path} is incomplete{room}: {error.strerror}"

    def _cut_torn_line(self) -> None:
        # From the end, in pieces: a line may be long (a graph of 2,000 nodes), and the file 1 GiB.
        size = end = os.fstat(self._fd).st_size
        while end > 0:
            start = max(0, end - 65536)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            end = start + newline + 1
            if newline >= 0 or start == 0:
                break
            end = start
        if end < size:
            os.ftruncate(self._fd, end)


def read_events(path: Path) -> list[Event]:
    """All events of the file. A last line without its newline is one being written, or torn by a kill: left
    out.

    Raises StateError naming the line if one is damaged or of a newer version, or if the file cannot be read.
    """
    try:
        content = b"".join(read_pieces(str(path), MiB, LARGEST, THIS_MACHINE))
    except OSError as error:
        raise StateError(f"the events cannot be read from {path}: {error.strerror}") from error
    *lines, _torn = content.split(b"\n")
    return [_read_line(path, number, line) for number, line in enumerate(lines, 1)]


def event_of(line: str | bytes) -> Event:
    """Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(line)


def _read_line(path: Path, number: int, line: bytes) -> Event:
    try:
        event = _ADAPTER.validate_json(line)
    except ValidationError as error:
        raise StateError(
            f"{path}:{number}: not an event of this version (damaged, or written by a newer sendense): "
            f"{_first_mistake(error)}"
        ) from error
    if isinstance(event, RunStarted) and event.schema_version > EVENTS_SCHEMA_VERSION:
        raise StateError(
            f"{path}:{number}: events of version {event.schema_version}, and this sendense reads up to "
            f"{EVENTS_SCHEMA_VERSION}: upgrade it"
        )
    return event


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
