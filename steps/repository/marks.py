"""What became known of a restore point after it was published, in small files beside its manifest, which never changes.

suspect.json    disks whose chain may lack changes: changed block tracking was caught lying
verified.json   the last verification at rest
protected.json  until when nothing here may delete it, and why
"""

from __future__ import annotations

import posixpath
from datetime import datetime
from typing import Literal, TypeVar

from runner.errors import StateError
from runner.hosts import Host
from runner.model import Model
from runner.sealed import Damaged, seal, unseal
from steps.repository.manifest import Level

SUSPECT = "suspect.json"
VERIFIED = "verified.json"
PROTECTED = "protected.json"

SCHEMA_VERSION: Literal[1] = 1


class Suspicion(Model):
    """Of one disk in one point."""

    key: int
    why: str
    run: str
    """Whose run found it."""
    at: datetime


class Suspect(Model):
    schema_version: Literal[1] = SCHEMA_VERSION
    disks: tuple[Suspicion, ...]


class WithSource(Model):
    """Blocks of the VM's disk that were not written since the point, and were compared; those that may have been."""

    compared: int
    changed: int
    why_not: str | None = None
    """Why nobody knows what was written since: then none was compared."""


class DiskVerified(Model):
    """Blocks are of 1 MiB; `different` are the offsets (bytes) of the first that differ, a hundred at most."""

    key: int
    blocks: int
    compared: int
    different: tuple[int, ...] = ()
    problem: str | None = None
    """Why it could not be compared: a missing parent, corrupt tables."""
    source: WithSource | None = None
    """Of a verification against the source: `different` are then blocks that differ there."""


class Verification(Model):
    """`level`: how much of what it holds was read; `against_source`: compared with the VM too, as far as its disks say."""

    schema_version: Literal[1] = SCHEMA_VERSION
    at: datetime
    level: Literal["chain", "sample", "metadata"]
    against_source: bool
    disks: tuple[DiskVerified, ...]

    @property
    def passed(self) -> bool:
        return not any(disk.different or disk.problem for disk in self.disks)


class Protection(Model):
    schema_version: Literal[1] = SCHEMA_VERSION
    until: datetime
    reason: str
    at: datetime


class Marks(Model):
    """All of one point; None for what it has not."""

    suspect: Suspect | None = None
    verified: Verification | None = None
    protected: Protection | None = None


_Mark = TypeVar("_Mark", Suspect, Verification, Protection)


def read(host: Host, point: str) -> Marks:
    """Of the point in the directory `point`. Raises StateError for a damaged file."""
    return Marks(
        suspect=_read(host, posixpath.join(point, SUSPECT), Suspect),
        verified=_read(host, posixpath.join(point, VERIFIED), Verification),
        protected=_read(host, posixpath.join(point, PROTECTED), Protection),
    )


def parse(content: bytes, where: str, kind: type[_Mark]) -> _Mark:
    """`where` names the file in the sentence of the StateError that damage and newer versions raise."""
    try:
        return unseal(content, kind, SCHEMA_VERSION)
    except Damaged as error:
        raise StateError(f"{where} {error}") from error


def write(host: Host, point: str, mark: Suspect | Verification | Protection) -> None:
    name = {Suspect: SUSPECT, Verification: VERIFIED, Protection: PROTECTED}[type(mark)]
    host.write(posixpath.join(point, name), seal(mark.to_json_value()))


def unprotect(host: Host, point: str) -> None:
    """Absent is fine."""
    host.remove(posixpath.join(point, PROTECTED))


def protection(host: Host, point: str, now: datetime) -> Protection | None:
    """What keeps the point from being deleted at this moment. Raises StateError for a damaged file."""
    found = _read(host, posixpath.join(point, PROTECTED), Protection)
    return found if found is not None and found.until > now else None


def suspect(host: Host, point: str, suspicion: Suspicion) -> None:
    """Adds to what is known already; the same disk is marked once."""
    known = read(host, point).suspect
    disks = () if known is None else known.disks
    if all(disk.key != suspicion.key for disk in disks):
        write(host, point, Suspect(disks=(*disks, suspicion)))


def _read(host: Host, path: str, kind: type[_Mark]) -> _Mark | None:
    try:
        return parse(host.read(path), f"{path} on {host.name}", kind)
    except FileNotFoundError:
        return None


def is_good(level: Level, marks: Marks) -> bool:
    """Whether retention may count on it: every block was compared, then or later, and nothing speaks against it."""
    later = marks.verified
    compared = level == "full" or (later is not None and later.level == "chain")
    return compared and marks.suspect is None and (later is None or later.passed)
