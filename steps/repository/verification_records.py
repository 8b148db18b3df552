"""What became known of a restore point after it was published, in small files in a directory beside it: the
point itself never changes, and may be locked. Points of before that have them beside their manifest.

suspect.json         disks whose chain may lack changes: changed block tracking was caught lying
verified.json        what verifications at rest found: the stored point against the digests of what
was read; also
                     what a backup came upon that was to be built on it
against-source.json  what comparisons with the VM found: the digests against what the VM did not write since
protected.json       until when nothing here may delete it, and why
drilled.json         what came of booting it, the last time; with it, where there was any, drilled.png (the
                     console at the verdict) and drilled-serial.log (what its first serial port said)

Neither of the two comparisons says anything of what the other found: a block can rot after it was read
rightly, and the digests of what was read wrongly match what was written.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from runner.base.errors import Interrupted, SendenseError, StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.base.units import MINUTE
from runner.hosts.host import Host
from steps.repository import layout
from steps.repository.locked import is_immutable
from steps.repository.manifest import ReadBy
from steps.repository.recorded import Amount, Recorded, UtcTime, different

SUSPECT = "suspect.json"
VERIFIED = "verified.json"
AGAINST_SOURCE = "against-source.json"
PROTECTED = "protected.json"
DRILLED = "drilled.json"
DRILL_PICTURE = "drilled.png"
DRILL_SERIAL_LOG = "drilled-serial.log"

SCHEMA_VERSION: Literal[1] = 1

Level = Literal["metadata", "sample", "chain"]
LEVELS: tuple[Level, ...] = ("metadata", "sample", "chain")
"""Of a verification at rest, the weakest first."""


class PointGoneError(SendenseError):
    def __init__(self, point: str, host: str) -> None:
        super().__init__(f"{point} on {host} was deleted meanwhile: what was found of it is not recorded")


class Suspicion(Recorded):
    """Of one disk in one point."""

    key: int
    why: str
    run: str
    """Whose run found it."""
    at: UtcTime


class Suspect(Recorded):
    schema_version: Literal[1] = SCHEMA_VERSION
    disks: Annotated[tuple[Suspicion, ...], Field(min_length=1), AfterValidator(different("key"))]


class DiskVerified(Recorded):
    """At rest. Blocks are of 1 MiB."""

    key: int
    at: UtcTime
    """When it was begun."""
    level: Level
    """How much of what it holds was read."""
    blocks: Amount
    compared: Amount
    readback: ReadBy = "wire"
    different: tuple[int, ...] = ()
    """Offsets (bytes) of the first that differ, a hundred at most."""
    problem: str | None = None
    """Why it could not be compared: a missing parent, corrupt tables."""
    run: str = ""
    """The backup that came upon it, where it was to be built on it; empty: a verification."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.compared > self.blocks:
            raise ValueError(f"disk {self.key}: more blocks are said to be compared than it has")
        return self

    @property
    def passed(self) -> bool:
        return not self.different and self.problem is None

    @property
    def whole(self) -> bool:
        """Whether every block was read, in whichever image of the chain, and is right."""
        return self.passed and self.level == "chain" and self.compared == self.blocks

    def upon(self, before: DiskVerified | None) -> DiskVerified:
        """Which of the two is to be known, this one being the later. What was found wrong stands until every
        block was read and is right, and that all were is not forgotten for having read less."""
        if before is None or not self.passed or self.whole:
            return self
        return self if before.passed and LEVELS.index(self.level) >= LEVELS.index(before.level) else before


class DiskCompared(Recorded):
    """With the VM's disk as it is in a new snapshot. Blocks are of 1 MiB."""

    key: int
    at: UtcTime
    """When it was begun."""
    blocks: Amount
    compared: Amount
    """Those that the VM did not write since the point, as changed block tracking says."""
    changed: Amount
    """Those that it may have written."""
    different: tuple[int, ...] = ()
    """Offsets (bytes) of the first that differ, a hundred at most; also of those found before that could not
    be compared again since."""
    why_not: str | None = None
    """Why it is unknown what was written since: then none was compared."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.compared > self.blocks:
            raise ValueError(f"disk {self.key}: more blocks are said to be compared than it has")
        return self

    @property
    def passed(self) -> bool:
        return not self.different

    def upon(self, before: DiskCompared | None) -> DiskCompared:
        """Which of the two is to be known, this one being the later."""
        return self if before is None or self.why_not is None else before


_Disk = TypeVar("_Disk", DiskVerified, DiskCompared)


class _Disks(Recorded, Generic[_Disk]):
    """What is known of each disk."""

    schema_version: Literal[1] = SCHEMA_VERSION
    disks: Annotated[tuple[_Disk, ...], Field(min_length=1), AfterValidator(different("key"))]

    def disk(self, key: int) -> _Disk | None:
        return next((disk for disk in self.disks if disk.key == key), None)

    @property
    def passed(self) -> bool:
        return all(disk.passed for disk in self.disks)

    @property
    def at(self) -> datetime:
        """When something was found wrong, the last time; where nothing was, when the first of its disks was
        looked at."""
        wrong = [disk.at for disk in self.disks if not disk.passed]
        return max(wrong) if wrong else min(disk.at for disk in self.disks)


class Verification(_Disks[DiskVerified]):
    """At rest."""

    @property
    def level(self) -> Level:
        """The weakest of the disks'."""
        return min((disk.level for disk in self.disks), key=LEVELS.index)


class Comparison(_Disks[DiskCompared]):
    """With the VM."""

    @property
    def compared(self) -> bool:
        """Whether any disk could be."""
        return any(disk.why_not is None for disk in self.disks)


class Protection(Recorded):
    schema_version: Literal[1] = SCHEMA_VERSION
    until: UtcTime
    reason: str
    at: UtcTime


Verdict = Literal["passed", "undecided", "failed"]
"""Of a drill, see `steps.values.drill`."""


class Seen(Recorded):
    """One thing that a drill expected of the guest."""

    expected: str
    """In words."""
    within: Annotated[float, Field(ge=0)]
    """By when it was to be seen, in seconds since the start."""
    seen: str | None
    """What was seen; None: nothing by then."""
    after: Annotated[float, Field(ge=0)] | None
    """When, in seconds since the start."""


class Drill(Recorded):
    """The point was booted, or was to be."""

    schema_version: Literal[1] = SCHEMA_VERSION
    at: UtcTime
    """When it was begun."""
    verdict: Verdict
    why: str
    """In a sentence, without a full stop."""
    evidence: tuple[Seen, ...] = ()
    """Of each expectation."""
    host: str
    """The job's word for the machine that it was booted on."""
    accelerator: Literal["kvm", "tcg"] | None
    """None: it was not booted, and this and what follows is not known."""
    accelerator_why: str = ""
    """Why it was not KVM, in words."""
    firmware: str = ""
    qemu: str = ""
    """Its version."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """From the start to the verdict."""
    written: Amount = 0
    """Bytes that the guest wrote."""
    changes: tuple[str, ...] = ()
    """What was otherwise than the VM had it, in sentences."""
    not_tried: tuple[str, ...] = ()
    """What its verdict says nothing of: ``what is on Hard disk 2``."""
    run: str
    """Whose it was."""
    passed_at: UtcTime | None = None
    """When the point passed a drill, the last time; None: never."""
    picture: Literal["drilled.png"] | None = None
    serial_log: Literal["drilled-serial.log"] | None = None


class Marks(Model):
    """All of one point; None for what it has not."""

    suspect: Suspect | None = None
    verified: Verification | None = None
    against_source: Comparison | None = None
    protected: Protection | None = None
    drilled: Drill | None = None
    drilled_unread: str = ""
    """Why it is unknown what a drill of it came to, in words. That speaks against no disk, so the point is
    what it would be without."""


Mark = Suspect | Verification | Comparison | Protection | Drill
NAMES: dict[type[Mark], str] = {
    Suspect: SUSPECT,
    Verification: VERIFIED,
    Comparison: AGAINST_SOURCE,
    Protection: PROTECTED,
    Drill: DRILLED,
}
_Mark = TypeVar("_Mark", Suspect, Verification, Comparison, Protection, Drill)


def read(host: Host, point: str) -> Marks:
    """Of the point in the directory `point`. Raises StateError for a damaged file."""
    found = {name: _content(host, point, name) for name in NAMES.values()}
    contents = {name: one[0] for name, one in found.items() if one is not None}
    places = {name: one[1] for name, one in found.items() if one is not None}
    return gather(contents.get, places.__getitem__)


def gather(content: Callable[[str], bytes | None], where: Callable[[str], str]) -> Marks:
    """`content` has the files by name; `where` names one in the sentence of the StateError that damage and
    newer versions raise, but of the record of a drill."""

    def mark(kind: type[_Mark]) -> _Mark | None:
        name = NAMES[kind]
        found = content(name)
        return None if found is None else _parse(found, kind, where(name))

    drilled, why = None, ""
    try:
        drilled = mark(Drill)
    except StateError as error:
        why = error.message
    return Marks(
        suspect=mark(Suspect),
        verified=mark(Verification),
        against_source=mark(Comparison),
        protected=mark(Protection),
        drilled=drilled,
        drilled_unread=why,
    )


@contextmanager
def beside(host: Host, point: str) -> Iterator[str]:
    """The directory of what becomes known of the point, for writing; none is left where the point is deleted
    meanwhile. Raises PointGoneError."""
    directory = layout.marks(point)
    if not host.exists(point):
        raise PointGoneError(point, host.name)
    host.mkdir(directory)
    try:
        yield directory
    except Interrupted:
        raise
    except SendenseError:
        if host.exists(point):
            raise
    # Who deletes a point takes it from the list first: what was written since it would not see.
    if not host.exists(point):
        host.remove(directory, recursive=True)
        raise PointGoneError(point, host.name)


def can_be_written(host: Host, point: str) -> bool:
    """Whether this account may record anything of the point in the directory `point`: one that only reads the
    repository may not. Raises CommandError, HostError."""
    argv = ("test", "-w", posixpath.dirname(point))
    return host.run(argv, timeout=MINUTE, ok=(0, 1)).exit_code == 0


def unrecorded(host: Host, point: str) -> str:
    """What is said where it cannot: once, and not of each point."""
    root = posixpath.dirname(posixpath.dirname(point))
    return f"what is found is not recorded in {root} on {host.name}, where this account cannot write"


def write(host: Host, point: str, mark: Mark) -> None:
    """Raises PointGoneError."""
    with beside(host, point) as directory:
        host.write(posixpath.join(directory, NAMES[type(mark)]), seal(mark.to_json_value()))


def protect(host: Host, point: str, until: datetime, reason: str) -> None:
    """Unless it is protected for longer already. Raises StateError for a damaged file."""
    now = datetime.now(UTC)
    if (known := protection(host, point, now)) is None or known.until < until:
        write(host, point, Protection(until=until, reason=reason, at=now))


def unprotect(host: Host, point: str) -> None:
    """Absent is fine. Raises StateError where that is of an older version, in a point that is locked."""
    older = posixpath.join(point, PROTECTED)
    if host.exists(older) and is_immutable(host, older):
        raise StateError(f"{older} on {host.name} is locked with its point, and stays until that is unlocked")
    host.remove(older, posixpath.join(layout.marks(point), PROTECTED))


def protection(host: Host, point: str, now: datetime) -> Protection | None:
    """What keeps the point from being deleted at this moment. Raises StateError for a damaged file."""
    found = _read(host, point, Protection)
    return found if found is not None and found.until > now else None


def drill(host: Host, point: str) -> Drill | None:
    """What came of booting it, the last time. Raises StateError for a damaged file."""
    return _read(host, point, Drill)


def suspect(host: Host, point: str, suspicion: Suspicion) -> None:
    """Adds to what is known already; the same disk is marked once."""
    known = _read(host, point, Suspect)
    disks = () if known is None else known.disks
    if all(disk.key != suspicion.key for disk in disks):
        write(host, point, Suspect(disks=(*disks, suspicion)))


def damaged(host: Host, point: str, found: DiskVerified) -> None:
    """Of one disk, at rest; what is known of the others stays."""
    known = _read(host, point, Verification)
    others = () if known is None else tuple(disk for disk in known.disks if disk.key != found.key)
    write(host, point, Verification(disks=(*others, found)))


def against(found: Marks) -> Iterator[str]:
    """What speaks against a point, in sentences."""
    for suspicion in found.suspect.disks if found.suspect else ():
        yield f"Disk {suspicion.key} is suspect: {suspicion.why}."
    if found.verified is not None and not found.verified.passed:
        yield f"It failed verification at rest at {found.verified.at:%Y-%m-%d %H:%M} UTC."
    if found.against_source is not None and not found.against_source.passed:
        yield (f"It differed from the VM when compared at {found.against_source.at:%Y-%m-%d %H:%M} UTC.")
    if found.drilled is not None and found.drilled.verdict == "failed":
        yield f"It failed a drill at {found.drilled.at:%Y-%m-%d %H:%M} UTC: {found.drilled.why}."
    if found.drilled_unread:
        yield f"What a drill of it came to is unknown: {found.drilled_unread}."


def _read(host: Host, point: str, kind: type[_Mark]) -> _Mark | None:
    found = _content(host, point, NAMES[kind])
    return None if found is None else _parse(found[0], kind, found[1])


def _content(host: Host, point: str, name: str) -> tuple[bytes, str] | None:
    """With where it stands, for a sentence."""
    for directory in (layout.marks(point), point):
        path = posixpath.join(directory, name)
        with suppress(FileNotFoundError):
            return host.read(path, limit=layout.RECORD_LIMIT), f"{path} on {host.name}"
    return None


def _parse(content: bytes, kind: type[_Mark], where: str) -> _Mark:
    try:
        return unseal(content, kind, SCHEMA_VERSION)
    except Damaged as error:
        raise error.error(where) from error
