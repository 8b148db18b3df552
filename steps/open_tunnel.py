"""open-tunnel: local sockets that lead to an export, one ssh process each; ready by NBD handshake through each."""

from __future__ import annotations

from runner.step import Given
from steps.create_qcow2 import Image


class Tunnel(Given):
    """The image seen from here; usable by the copy engine."""

    image: Image
    uris: tuple[str, ...]
    """NBD URIs, one a connection; each passed a handshake and shows `size`."""
    size: int
    read_only: bool
    multi_conn: bool
    cached: bool
    """Reads may come from the host's page cache (n58)."""
