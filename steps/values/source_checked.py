"""A restore point that was compared with its VM."""

from __future__ import annotations

from datetime import datetime

from runner.base.model import Model
from steps.repository.verification_records import DiskCompared


class SourceChecked(Model):
    path: str
    """Absolute path of the point's directory"""
    host: str
    """The job's name of the host it is on"""
    disks: tuple[DiskCompared, ...]
    """What this comparison found"""
    at: datetime
    """When it was begun"""
