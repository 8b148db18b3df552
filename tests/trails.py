"""The log of a repository, read by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

from steps.repository import layout
from steps.trail.entry import Entry


def lines(root: Path | str) -> list[bytes]:
    log = Path(root) / layout.LOG
    return log.read_bytes().splitlines(keepends=True) if log.exists() else []


def entries(root: Path | str) -> list[Entry]:
    """Of a log that is whole: each has the digest of the line before, as sha256sum says it."""
    found, before = [], ""
    for line in lines(root):
        entry = Entry.model_validate_json(line)
        assert entry.prev == before, line
        found.append(entry)
        before = hashlib.sha256(line).hexdigest()
    return found


def acts(root: Path | str) -> list[tuple[str, ...]]:
    """What was done to which points."""
    return [(entry.act, *entry.points) for entry in entries(root)]
