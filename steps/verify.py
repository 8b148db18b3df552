"""verify: the image is sound, and its bytes are the bytes read at the source."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from runner.model import Model
from steps.transfer import Copied


class Verified(Model):
    copied: Copied
    level: Literal["full", "sample", "metadata"]
    blocks: int
    """Of the disk, 1 MiB each."""
    compared: int
    """Blocks read back and compared."""
    cached: bool
    """They may have come from the host's page cache (n58)."""
    leaks: int
    """Leaked clusters that `qemu-img check -r leaks` gave back (n56)."""
    at: datetime
