"""An image that is served over NBD on its host."""

from __future__ import annotations

from runner.step.step import Given
from steps.values.image import Image


class Export(Given):
    image: Image
    """The image that is served."""
    host: str
    """The job's name of the host that serves it."""
    socket: str
    """Unix socket on the host; empty where it listens on `port`."""
    export: str
    """NBD export name: <vm slug>-disk-<key>"""
    shared: int
    """Connections the server takes at once."""
    nbd_targets: str
    """The target as ``<disk key>:<NBD URI>``, such as ``2000:nbd+unix:///pgtest1-disk-2000?socket=…``."""
    port: int | None = None
    """Of 127.0.0.1 on the host, where its sshd forwards no unix sockets."""

    @property
    def address(self) -> str:
        """What a forward leads to."""
        return self.socket if self.port is None else f"127.0.0.1:{self.port}"
