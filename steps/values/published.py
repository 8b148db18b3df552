"""A restore point that has its name."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model
from steps.repository.manifest import Level
from steps.trail.witness import Witnessed


class PublishedDisk(Model):
    """Sizes in bytes."""

    key: int
    kind: Literal["full", "incremental"]
    size: int
    copied: int
    """See `steps.points.figures`."""
    changed: int | None
    """That changed block tracking named."""
    seconds: float
    """Of its copy, the last time it went on."""
    level: Level
    blocks: int
    compared: int


class Published(Model):
    vm: str
    """The VM's name."""
    point: str
    """Name of the restore point."""
    path: str
    """The restore point's directory on the host."""
    host: str
    """The job's name of the host that has it."""
    repository: str
    """The job's name of the repository."""
    disks: tuple[str, ...]
    """Paths of the images."""
    level: Level
    """How far all its disks were verified."""
    made: tuple[PublishedDisk, ...] = ()
    """What was copied of each disk."""
    witness: Witnessed | None = None
    """What is to be kept of it elsewhere."""
