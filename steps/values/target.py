"""The file that a disk is restored into."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model
from steps.values.stored_point import DiskImage, StoredDisk

TargetFormat = Literal["qcow2", "raw", "vmdk", "vmdk-stream"]


class Target(Model):
    disk: StoredDisk
    """The disk that it is to hold"""
    image: DiskImage
    """The unfinished file"""
    form: TargetFormat
    """What kind of file it is to be"""
    final: str
    """Absolute path that it gets once it is verified"""
    overwrite: bool
    """Whether a file of that name may be replaced"""
    replaces: tuple[int, int] | None
    """Size and time of last change (ns) of the file that has the name before; none: there is none"""
