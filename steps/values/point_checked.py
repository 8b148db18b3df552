"""A restore point whose bytes were compared with its digests."""

from __future__ import annotations

from datetime import datetime

from runner.base.model import Model
from steps.repository.verification_records import Level

DIFFERENCES = 100
"""Offsets that are remembered of one disk: enough to see whether a sector or a disk is bad."""


class PointChecked(Model):
    path: str
    """Absolute path of the point's directory"""
    host: str
    """The job's name of the host it is on"""
    level: Level
    """How much was read"""
    blocks: int
    """Of its disks, 1 MiB each"""
    compared: int
    """Those that were compared"""
    on_host: int = 0
    """Those among them whose digests the host made itself"""
    reread: int = 0
    """Those among these that were read over the wire too"""
    tools: str = ""
    """What it made them with"""
    at: datetime
    """When it was begun"""
