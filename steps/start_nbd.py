"""start-nbd: a qemu-nbd on the image's host, leashed to us."""

from __future__ import annotations

from runner.step import Given
from steps.create_qcow2 import Image


class Export(Given):
    image: Image
    host: str
    socket: str
    """Unix socket on the host."""
    export: str
    """NBD export name: <vm slug>-disk-<key>"""
    read_only: bool
    shared: int
    """Connections the server takes (n9)."""
    nbd_targets: str
    """``2000:nbd+unix:///<export>?socket=<path>`` (n7)."""
