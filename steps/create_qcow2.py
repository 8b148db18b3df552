"""create-qcow2: an empty image of the disk's exact size in the run's `.partial` directory."""

from __future__ import annotations

from runner.model import Model
from steps.vsphere.inventory import Disk


class Image(Model):
    disk: Disk
    repository: str
    host: str
    directory: str
    """Absolute path of `<run>.partial` on the host."""
    path: str
    """Absolute path of `disk-<key>.qcow2` on the host."""
    capacity: int
