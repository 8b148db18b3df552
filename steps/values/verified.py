"""An image that was compared with what was read at the source, and how far."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from runner.base.model import Model
from steps.repository import manifest
from steps.values.copied import Copied
from steps.values.image import Image


class Verified(Model):
    copied: Copied
    """What was looked at."""
    level: Level
    """How far."""
    blocks: int
    """Of the disk, 1 MiB each."""
    compared: int
    """Blocks compared: read back, or holes on both sides."""
    inherited: int = 0
    """Those among them that are a parent's."""
    cached: bool
    """They may have come from the host's page cache."""
    readback: manifest.ReadBy = "wire"
    """Whether their digests were made by the host that has the image, or here."""
    reread: int = 0
    """Blocks that the host digested and that were read over the wire too."""
    tools: str = ""
    """What the host digested them with; empty if it did not."""
    why: str = ""
    """What decided how they were read back: what was measured, or what the host lacks."""
    leaks: int
    """Leaked clusters that `qemu-img check` counted: wasted space, no wrong bytes."""
    at: datetime
    """When it was done."""

    @property
    def image(self) -> Image:
        return self.copied.image

    @property
    def proven(self) -> manifest.Level:
        """How far the whole disk is: what an incremental takes from its parents is no better than they
        are."""
        if self.level == "chain":
            return "full"
        parent = self.copied.parent
        return self.level if parent is None else manifest.weakest([self.level, parent.level])


Level = Literal["chain", "full", "sample", "metadata"]
