"""publish: the restore point gets its name."""

from __future__ import annotations

from runner.model import Model


class Published(Model):
    point: str
    """Name of the restore point."""
    path: str
    host: str
    repository: str
    disks: tuple[str, ...]
    """Paths of the images."""
