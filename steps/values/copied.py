"""A disk that was copied into its image, with the digests of what was read."""

from __future__ import annotations

from runner.base.model import Model
from steps.repository.manifest import Sampled
from steps.repository.parent import Parent
from steps.values.base import Base
from steps.values.image import Image


class Checked(Model):
    """Blocks of 1 MiB that were read whole only to check changed block tracking."""

    unchanged: int
    """Of those that it calls unchanged."""
    partly: int
    """Of those that it calls changed in part."""
    of: int
    """How many it calls changed in part."""


class Copied(Model):
    image: Image
    """What was written."""
    snapshot: str
    """moref of the snapshot that was read"""
    digests: str
    """Path of disk-<key>.blake3 on the image's host."""
    digest: str
    """BLAKE3 (hex) of that file."""
    data: int
    """Bytes of 1 MiB blocks that are not all zero."""
    zero: int
    """Bytes of 1 MiB blocks that are all zero."""
    seconds: float
    """Of the copy, the last time it went on."""
    moved: int
    """Bytes that it read at the source in that time: without holes, what was safe before, and what is the
    parent's."""
    base: Base | None = None
    """The choice of its parent; None for a full without one."""
    read: int = 0
    """Bytes that were read at the source, those that check changed block tracking among them; what the
    source called a hole was not read. Attempts before the last one count with the whole blocks of content
    that they had made safe."""
    checked: Checked | None = None
    """None where changed block tracking was not believed: of a full, and of an incremental by digests."""
    written: int = 0
    """Blocks of 1 MiB that this image holds itself."""
    copied: int = 0
    """Bytes of those of them that are not all zero: what came from the source into this image, in however
    many attempts."""

    sampled: Sampled | None = None
    """What that data looked like. None: recorded by an earlier version."""

    @property
    def key(self) -> int:
        return self.image.key

    @property
    def parent(self) -> Parent | None:
        """What an incremental is built on; None for a full."""
        return None if self.base is None else self.base.parent
