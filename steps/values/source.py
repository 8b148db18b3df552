"""A frozen disk that can be read over NBD."""

from __future__ import annotations

from datetime import datetime

from runner.step.step import Given
from steps.values.wire import Wire


class Source(Given):
    snapshot: str
    """moref of the snapshot whose disk this is"""
    created: datetime
    """When it was taken, by the vCenter's clock: its moref alone may become another snapshot's."""
    disk_key: int
    """Which disk it is."""
    backing_uuid: str
    """With the key, the disk's identity."""
    capacity: int
    """Bytes."""
    transport: str
    """https or vddk."""
    why: str
    """Why this transport."""
    uris: tuple[str, ...]
    """NBD URIs of the same bytes, one for each connection that may be made; a handshake passed through the
    first."""
    extents: bool
    """Whether the source can tell its holes."""
    wire: Wire | None = None
    """What more connections can be opened over, if another host reads it and each costs vSphere nothing."""
