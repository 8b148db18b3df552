"""open-source: NBD URIs on which the frozen disk can be read."""

from __future__ import annotations

from runner.step import Given


class Source(Given):
    snapshot: str
    """moref of the snapshot whose disk this is"""
    disk_key: int
    backing_uuid: str
    capacity: int
    transport: str
    why: str
    """Why this transport."""
    uris: tuple[str, ...]
    """NBD URIs, all of the same bytes; each passed a handshake."""
    extents: bool
    """Whether the source knows its holes."""
