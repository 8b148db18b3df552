"""An image read back over the wire: served read-only by its host for as long as it is read here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runner.hosts.host import Host
from runner.step.context import Context
from steps.copy.compare import Compared
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.nbd import image_server
from steps.nbd.exporter import Server
from steps.nbd.more_connections import MoreConnections
from steps.readback.image import ImageAtRest

CONNECTIONS = 4
"""As of a copy, unless a job says otherwise."""


@dataclass(frozen=True)
class View:
    endpoint: NbdEndpoint
    cached: bool
    """Reads may come from the host's page cache."""
    more: MoreConnections

    def progressed(self, now: Compared) -> None:
        """To be told of a comparison's progress: more connections are opened once they are worth it."""
        self.more.moved(self.endpoint, now.read, now.total - now.done)


@contextmanager
def opened(ctx: Context, host: Host, image: ImageAtRest) -> Iterator[View]:
    """Its server and what leads there end with the block. Raises ExporterError, ToolMissing, HostError,
    ConnectFailed, WrongSizeError, Interrupted."""
    server = Server(
        key=image.key,
        path=image.path,
        image=image.opens,
        capacity=image.capacity,
        export=image.export,
        read_only=True,
        connections=CONNECTIONS,
    )
    with ctx.scope():
        served = image_server.connect(ctx, host, server)
        with (
            MoreConnections(ctx, served.wire) as more,
            NbdEndpoint(served.uris, image.name, stop=ctx.stop) as endpoint,
        ):
            yield View(endpoint, served.cached, more)
