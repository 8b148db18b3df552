"""Local sockets that lead to an export."""

from __future__ import annotations

from runner.step.step import Given
from steps.values.image import Image
from steps.values.wire import Wire


class Tunnel(Given):
    """The image seen from here; usable by the copy engine."""

    image: Image
    """The image behind it."""
    uris: tuple[str, ...]
    """NBD URIs, one a connection; each socket passed a handshake and shows `size`."""
    size: int
    """Bytes."""
    multi_conn: bool
    """One FLUSH serves all connections."""
    wire: Wire | None = None
    """What more connections can be opened over, if the image is on another host."""
