"""Any image that is served over NBD, with local sockets that lead to it."""

from __future__ import annotations

from runner.step.step import Given
from steps.values.stored_point import DiskImage
from steps.values.wire import Wire


class Serving(Given):
    image: DiskImage
    """The disk that is served"""
    there: str
    """Its NBD URI on its own host"""
    uris: tuple[str, ...]
    """NBD URIs here, one a connection; each passed a handshake"""
    size: int
    """Size of the export in bytes"""
    read_only: bool
    """Whether it refuses writes"""
    cached: bool
    """Whether reads may come from the host's page cache"""
    wire: Wire | None = None
    """What more connections can be opened over, if the image is on another host"""
