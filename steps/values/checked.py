"""A restored file that was compared with the digests of its disk."""

from __future__ import annotations

from datetime import datetime

from runner.base.model import Model
from steps.values.target import Target


class Checked(Model):
    target: Target
    """The file that holds the disk"""
    blocks: int
    """Blocks of 1 MiB that were compared, which is all of them"""
    cached: bool
    """Whether they may have come from the host's page cache"""
    size: int
    """Size of the file in bytes when it was compared"""
    mtime_ns: int
    """When the file was written to last by then, in nanoseconds of its host's clock"""
    at: datetime
    """When it was compared"""
