"""`run --witness FILE`: what jobs made is written down on this machine, a line each, so that it can be kept
where their hosts cannot change it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.base.errors import SendenseError, UsageError
from runner.hosts import files

MADE = "witness"
"""The list of a result (`Step.makes`) whose things are written down."""


def require(file: Path) -> None:
    """That the file can be appended to: before anything runs. Raises UsageError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UsageError(
            f"cannot append to {file}: {error.strerror}; no job was run: give --witness a file you can "
            "write to"
        ) from error


def write(file: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """What is witnessed in `documents`, each of one job, and is not in the file already, as what an earlier
    execution of a run made may be. Raises SendenseError."""
    with files.translate_os_errors(files.THIS_MACHINE, str(file)):
        before = file.read_bytes()
        known = set(before.splitlines(keepends=True))
        if before and not before.endswith(b"\n"):
            _append(file, b"\n")  # of a line that a full disk tore: the next one stays whole
        for line in (_line(thing) for one in documents for thing in one.get(MADE, ())):
            if line not in known:
                known.add(line)
                _append(file, line)


def _line(thing: Mapping[str, Any]) -> bytes:
    return json.dumps(thing, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _append(file: Path, line: bytes) -> None:
    """In one write at its end: others may append at the same time, and the file may be append-only."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        if os.write(opened, line) < len(line):
            raise SendenseError(f"{file} took a part of a line only: is its disk full?")
        os.fsync(opened)
    finally:
        os.close(opened)
