"""manifest.json: what one restore point is. Small, since all of a repository's are read to list it."""

from __future__ import annotations

import posixpath
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from runner.base.sealed import Damaged, seal, unseal
from runner.base.units import DAY, MiB, counted, human_seconds
from runner.hosts.host import Host
from steps.repository import layout
from steps.repository.recorded import Amount, Recorded, UtcTime, different

SCHEMA_VERSION: Literal[2] = 2
"""2: with `sequence`, `stored` and `unread`."""

APART = timedelta(minutes=10)
"""Clocks that differ by more are said to: kept ones differ by milliseconds, and a run's own steps take their
time."""

Level = Literal["full", "sample", "metadata"]
LEVELS: tuple[Level, ...] = ("metadata", "sample", "full")
"""How far blocks were read back and compared with the source; the weakest first."""

ReadBy = Literal["host", "wire"]
"""Where the digests of what is read back are made: by the host that has the image, or by the run, which reads
it over the wire."""

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def _file_name(value: str) -> str:
    # A manifest may come from elsewhere: what it names must lie in its own directory.
    if not _FILE.fullmatch(value):
        raise ValueError(f"{value!r} is not a file name in a restore point")
    return value


def _point_name(value: str) -> str:
    if not layout.is_point(value):
        raise ValueError(f"{value!r} is not the name of a restore point")
    return value


FileName = Annotated[str, AfterValidator(_file_name)]
PointName = Annotated[str, AfterValidator(_point_name)]


LAST_SEQUENCE = 10**9
"""That of a point each second for thirty years. A larger one no run gave, and after the largest that can be
written there would be none."""


class VmIdentity(Recorded):
    vcenter_uuid: str
    instance_uuid: str
    bios_uuid: str
    moref: str
    name: str
    inventory_path: str
    asked: str = ""
    """What the job called it; empty in points that were made before this was noted."""


class LastFull(Recorded):
    """The last copy of a disk that took all of it from the source: it may be of a point that is long gone."""

    at: UtcTime
    """Of its point, see `Manifest.moment`."""
    points: Annotated[int, Field(ge=1)]
    """Restore points of the disk since, that one and this one counted, whether they are still there or
    not."""

    def next(self) -> LastFull:
        """Of an incremental on the point that has this."""
        return LastFull(at=self.at, points=self.points + 1)


class Sampled(Recorded):
    """What one copy of a disk from the source was like; it stays as it is when the image is rebuilt."""

    changed: Amount
    """Bytes of the blocks that were written."""
    whole: bool
    """Whether it took all of the disk, which says nothing of how much changed."""
    blocks: Amount
    """Blocks with content that the looks at some of them stand for."""
    incompressible: Amount
    """Those among them that look random: encrypted, or compressed already."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.incompressible > self.blocks:
            raise ValueError("more blocks are said to be incompressible than were looked at")
        return self


class SetNight(Recorded):
    """Most VMs of a set changed far more than they do otherwise."""

    set: str
    """The job's name."""
    unusual: Amount
    """VMs that did, when it first were most."""
    of: Amount
    """VMs of the set."""

    @property
    def what(self) -> str:
        return f"{self.unusual} of {self.of} VMs of {self.set} changed far more than they do otherwise"

    @property
    def why(self) -> str:
        """To come after a point's name."""
        return f"is of a night in which {self.what}"


class Origin(Recorded):
    """Where a copy of a restore point was copied from."""

    repository: str
    """The uuid in its marker."""
    at: UtcTime
    """When it was, by the clock of the machine of the run that copied it."""
    run: str
    """That run's id."""


class PointDisk(Recorded):
    """Sizes in bytes, times in seconds."""

    key: int
    label: str
    controller: str
    """Kind and bus number, such as ``pvscsi 0``."""
    unit: int
    capacity: Annotated[Amount, Field(ge=1)]
    backing_uuid: str
    file: str
    """"[datastore] dir/name.vmdk": what was read."""
    change_id: str | None
    rolled_back: str = ""
    """The run that had put the disk back last by then, as the VM's advanced settings said; empty if none had.
    Once that is another, the changeId says nothing any more: whether tracking sees what is written past the
    guest is not known (nowhere documented; OpenNebula#6741)."""
    parent: PointName | None = None
    """The restore point whose image is this one's backing file; None for a full."""
    by: Literal["all", "cbt", "digests"] = "all"
    """How it was known what to write: everything, what changed block tracking named, what differed from the
    parent's digests."""
    reason: str = ""
    """Why it is a full, or what it is built on."""
    last_full: LastFull | None = None
    """Stays as it is when this image is rebuilt, which reads nothing from the source. None: made before this
    was noted."""
    changed: Amount | None = None
    """Bytes that changed block tracking named since the parent."""
    read: Amount = 0
    """Bytes that were read at the source; what it called a hole was not read."""
    sampled: Sampled | None = None
    """What the data looked like that was copied. None: made before that was noted."""
    image: FileName
    digests: FileName
    digest: str
    """BLAKE3 (hex) of the digests file."""
    data: Amount
    zero: Amount
    copy_seconds: Annotated[float, Field(ge=0)]
    level: Level
    blocks: Amount
    written: Amount = 0
    """Blocks of 1 MiB that this image holds itself; of a full, all of them."""
    compared: Amount
    inherited: Amount = 0
    """Those among the compared that a parent holds."""
    cached: bool
    """Blocks read back may have come from the host's page cache."""
    readback: ReadBy = "wire"
    """By whom they were; of a point of before this was noted, by the run."""
    leaks: Amount
    verified: UtcTime
    """When; as the three before, of the image that is there now, which a prune may have rebuilt."""

    @property
    def backing(self) -> str | None:
        """The image's backing file; None for a full."""
        return None if self.parent is None else layout.backing(self.parent, self.key)


class Manifest(Recorded):
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    point: PointName
    sequence: Annotated[int, Field(ge=1, le=LAST_SEQUENCE)] | None = None
    """Which of its VM's points it is, given while the VM's lock was held: of two the later has the higher.
    None: made before there was one."""
    run: str
    created: UtcTime
    """The snapshot's createTime, by the vCenter's clock."""
    published: UtcTime
    """By the clock of the machine that the run was on."""
    stored: UtcTime | None = None
    """The same, by the clock of the repository host. None: made before that was noted."""
    unread: tuple[str, ...] = ()
    """Names of points of the VM that were there and could not be read when this one was published: they are
    older, and not built on it."""
    vm: VmIdentity
    quiesced: str
    level: Level
    """The weakest of the disks'."""
    disks: Annotated[
        tuple[PointDisk, ...], Field(min_length=1), AfterValidator(different("key", "image", "digests"))
    ]
    config: FileName
    """In ``vm/``."""
    nvram: FileName | None
    """In ``vm/``; None if the VM has none or it could not be read."""
    notes: tuple[str, ...]
    """What is not as it should be, in sentences."""
    job: str
    job_digest: str
    git_commit: str | None
    tools: dict[str, str]
    """Versions by name."""
    saved: dict[FileName, str] = {}
    """SHA-256 (hex) of each file in ``vm/``, by its name. Empty: made before that was noted."""
    unusual: bool | None = None
    """Whether its VM had changed so much that it counts where most of a set does, by the limits of that day.
    None: that is not known."""
    of_set: SetNight | None = None
    """What its set did since the VM's point before."""
    copied: Origin | None = None
    """None: it is no copy. A copy says of images what was made here, and of all else what its original
    says."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.schema_version > 1 and (self.sequence is None or self.stored is None):
            raise ValueError("it has no sequence, or no time of the repository host")
        for disk in self.disks:
            if disk.parent == self.point:
                raise ValueError(f"disk {disk.key} is backed by itself")
            if disk.blocks != -(-disk.capacity // MiB):
                raise ValueError(
                    f"disk {disk.key} has {disk.capacity} bytes, which is not {disk.blocks} blocks of 1 MiB"
                )
            if max(disk.compared, disk.written) > disk.blocks or disk.inherited > disk.compared:
                raise ValueError(f"disk {disk.key} has fewer blocks than are said to be compared or written")
        if LEVELS.index(self.level) > min(LEVELS.index(disk.level) for disk in self.disks):
            raise ValueError(f"level {self.level} is not that of its weakest disk")
        return self

    def disk(self, key: int) -> PointDisk | None:
        # A loop: it is asked for each disk of thousands of points again and again.
        for disk in self.disks:
            if disk.key == key:
                return disk
        return None

    @property
    def kind(self) -> Literal["full", "incremental"]:
        return "incremental" if any(disk.parent is not None for disk in self.disks) else "full"

    @property
    def moment(self) -> datetime:
        """When it was made, for periods, ages and people: the vCenter's time, which is that of the snapshot,
        where another clock bears it out, else that of the repository host (of the run's machine, where that
        was not noted). A vCenter whose clock was a year ahead for a night is then known as such for ever
        after, and its points are of that night."""
        if self._bears_out(self.published) or (self.stored is not None and self._bears_out(self.stored)):
            return self.created
        return self.stored or self.published

    @property
    def clocks(self) -> tuple[str, ...]:
        """What is wrong with the clocks that it was made by, in sentences."""
        found = []
        if not self._bears_out(self.published):
            found.append(
                f"The vCenter's clock was about {_apart(self.created, self.published)} that of the machine "
                f"of the run: it dates the snapshot {_minute(self.created)}, and the point was published "
                f"{_minute(self.published)}."
            )
        if self.stored is not None and abs(self.stored - self.published) > APART:
            found.append(
                f"The clock of the repository host was about {_apart(self.stored, self.published)} that of "
                f"the machine of the run: {_minute(self.stored)}, not {_minute(self.published)}."
            )
        return tuple(found)

    @property
    def begun(self) -> datetime:
        """When its run began, by the clock of the machine that the run was on then."""
        return layout.begun(self.run) or self.published

    def _bears_out(self, end: datetime) -> bool:
        """Whether `created` is within the run that ended at `end`, by another clock than the vCenter's."""
        try:
            return end - (self.published - self.begun) - APART <= self.created <= end + APART
        except OverflowError:
            return False


def _apart(one: datetime, other: datetime) -> str:
    seconds = abs((one - other).total_seconds())
    span = counted(round(seconds / DAY), "day") if seconds > 2 * DAY else human_seconds(seconds)
    return f"{span} {'ahead of' if one > other else 'behind'}"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def weakest(levels: list[Level]) -> Level:
    """`levels` is not empty."""
    return min(levels, key=LEVELS.index)


def dump(manifest: Manifest) -> bytes:
    return seal(manifest.to_json_value())


def read(host: Host, point: str) -> Manifest | None:
    """That of the point in the directory `point`; None without one. Raises StateError."""
    path = posixpath.join(point, layout.MANIFEST)
    try:
        return parse(host.read(path, limit=layout.RECORD_LIMIT), f"{path} on {host.name}")
    except FileNotFoundError:
        return None


def parse(content: bytes, where: str) -> Manifest:
    """`where` names the file in the sentence. Raises StateError for damage, NewerError."""
    try:
        return unseal(content, Manifest, SCHEMA_VERSION)
    except Damaged as error:
        raise error.error(where) from error
