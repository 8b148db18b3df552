"""manifest.json: what one restore point is. Small, since all of a repository's are read to list it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator

from runner.errors import StateError
from runner.model import Model
from runner.sealed import Damaged, seal, unseal
from steps.repository import layout

SCHEMA_VERSION: Literal[1] = 1

Level = Literal["full", "sample", "metadata"]
LEVELS: tuple[Level, ...] = ("metadata", "sample", "full")
"""How far blocks were read back and compared with the source; the weakest first."""

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


class VmIdentity(Model):
    vcenter_uuid: str
    instance_uuid: str
    bios_uuid: str
    moref: str
    name: str
    inventory_path: str
    asked: str = ""
    """What the job called it; empty in points that were made before this was noted."""


class LastFull(Model):
    """The last copy of a disk that took all of it from the source: it may be of a point that is long gone."""

    at: datetime
    """Its snapshot's createTime."""
    points: int
    """Restore points of the disk since, that one and this one counted, whether they are still there or not."""

    def next(self) -> LastFull:
        """Of an incremental on the point that has this."""
        return LastFull(at=self.at, points=self.points + 1)


class PointDisk(Model):
    """Sizes in bytes, times in seconds."""

    key: int
    label: str
    controller: str
    """Kind and bus number, such as ``pvscsi 0``."""
    unit: int
    capacity: int
    backing_uuid: str
    file: str
    """"[datastore] dir/name.vmdk": what was read."""
    change_id: str | None
    parent: PointName | None = None
    """The restore point whose image is this one's backing file; None for a full."""
    by: Literal["all", "cbt", "digests"] = "all"
    """How it was known what to write: everything, what changed block tracking named, what differed from the parent's digests."""
    reason: str = ""
    """Why it is a full, or what it is built on."""
    last_full: LastFull | None = None
    """Stays as it is when this image is rebuilt, which reads nothing from the source. None: made before this was noted."""
    changed: int | None = None
    """Bytes that changed block tracking named since the parent."""
    read: int = 0
    """Bytes of the blocks that were looked at in the source."""
    image: FileName
    digests: FileName
    digest: str
    """BLAKE3 (hex) of the digests file."""
    data: int
    zero: int
    copy_seconds: float
    level: Level
    blocks: int
    written: int = 0
    """Blocks of 1 MiB that this image holds itself; of a full, all of them."""
    compared: int
    inherited: int = 0
    """Those among the compared that a parent holds."""
    cached: bool
    """Blocks read back may have come from the host's page cache."""
    leaks: int
    verified: datetime
    """When; as the three before, of the image that is there now, which a prune may have rebuilt."""

    @property
    def backing(self) -> str | None:
        """What the image says of the one that it lies on; None for a full."""
        return None if self.parent is None else layout.backing(self.parent, self.key)


class Manifest(Model):
    schema_version: Literal[1] = SCHEMA_VERSION
    point: PointName
    run: str
    created: datetime
    """The snapshot's createTime."""
    published: datetime
    vm: VmIdentity
    quiesced: str
    level: Level
    """The weakest of the disks'."""
    disks: tuple[PointDisk, ...]
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

    @property
    def kind(self) -> Literal["full", "incremental"]:
        return "full" if all(disk.parent is None for disk in self.disks) else "incremental"


def weakest(levels: list[Level]) -> Level:
    """`levels` is not empty."""
    return min(levels, key=LEVELS.index)


def dump(manifest: Manifest) -> bytes:
    return seal(manifest.to_json_value())


def parse(content: bytes, where: str) -> Manifest:
    """`where` names the file in the sentence of the StateError that damage and newer versions raise."""
    try:
        return unseal(content, Manifest, SCHEMA_VERSION)
    except Damaged as error:
        raise StateError(f"{where} {error}") from error
