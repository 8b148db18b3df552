"""A file that holds a disk of a restore point."""

from __future__ import annotations

from runner.base.model import Model
from steps.values.target import Target


class Restored(Model):
    target: Target
    """The file that holds the disk now"""
    seconds: float
    """Of the copy, the last time it went on"""
    moved: int
    """Bytes that it went through in that time, without those that were safe before"""
