"""What a set remembers itself: which items it chose, and what came of each. All else its children
remember."""

from __future__ import annotations

import posixpath
from datetime import datetime

from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.hosts.file_log import read_if_there
from runner.hosts.host import Host

SET = "set.json"
"""In the set's directory."""

SET_SCHEMA_VERSION = 1


class Chosen(Model):
    id: str
    name: str
    path: str
    rule: str = ""
    outcome: str = ""
    """As of `run --json`; empty for one that has not ended."""
    run: str = ""
    exit_code: int | None = None
    ended: datetime | None = None
    seconds: float | None = None
    bytes: int | None = None
    """That its newest run which is done copied: what the next one may copy."""
    error: str = ""


class SetRecord(Model):
    schema_version: int = SET_SCHEMA_VERSION
    id: str
    """Of this execution of the set, as that of a run."""
    set: str
    file: str
    by: str
    """Who ran it where: ``backup@ci-3``."""
    started: datetime
    ended: datetime | None = None
    items: tuple[Chosen, ...] = ()
    """Those that it chose, by path, and then those that it no longer does and that an unfinished run holds
    something of."""

    @property
    def by_id(self) -> dict[str, Chosen]:
        return {item.id: item for item in self.items}


def read_set(content: bytes, path: str) -> SetRecord:
    """Raises StateError."""
    try:
        return unseal(content, SetRecord, SET_SCHEMA_VERSION)
    except Damaged as error:
        raise error.error(f"the record {path}") from error


class SetFile:
    """The record in the set's directory, on whichever host that is."""

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._path = posixpath.join(directory, SET)

    def read(self) -> SetRecord | None:
        """None where it never ran. Raises StateError."""
        content = read_if_there(self._host, self._path)
        return None if content is None else read_set(content, self._path)

    def write(self, record: SetRecord) -> None:
        self._host.write(self._path, seal(record.to_json_value()))
