"""An image of a disk in the directory of an unfinished restore point."""

from __future__ import annotations

from runner.base.model import Model
from steps.vsphere.inventory import Disk


class Image(Model):
    disk: Disk
    """The disk that the image is for."""
    repository: str
    """The job's name of the repository."""
    host: str
    """The job's name of the host that has the image."""
    directory: str
    """Absolute path of `<run>.partial` on the host."""
    path: str
    """Absolute path of `disk-<key>.qcow2` on the host."""
    capacity: int
    """Bytes, as the disk has."""
    backing: str | None = None
    """The parent's image by its name relative to `directory`; None for a full."""

    @property
    def key(self) -> int:
        return self.disk.key
