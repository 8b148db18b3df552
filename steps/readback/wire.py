"""An image read back over the wire: served read-only by its host for as long as it is read here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runner.hosts.host import Host
from runner.step.context import Context
from steps.copy.compare import Compared
from steps.nbd import image_server
from steps.nbd.exporter import Exporter, Server
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.readback.image import ImageAtRest

CONNECTIONS = 4
"""As of a copy, unless a job says otherwise."""


@dataclass(frozen=True)
class View:
    endpoint: GrowingEndpoint
    exporter: Exporter

    @property
    def cached(self) -> bool:
        """Reads may come from the host's page cache."""
        return self.exporter.cached

    def progressed(self, now: Compared) -> None:
        """To be told of a comparison's progress: more connections are opened once they are worth it."""
        self.endpoint.moved(now.read, now.total - now.done)


@contextmanager
def opened(ctx: Context, host: Host, image: ImageAtRest, *, beside: int = 0) -> Iterator[View]:
    """`beside`: connections that programs on `host` itself make, at most. Its server and what leads there end
    with the block. Raises ExporterError, ToolMissing, HostError, ConnectFailed, WrongSizeError,
    Interrupted."""
    server = Server(
        key=image.key,
        path=image.path,
        image=image.opens,
        capacity=image.capacity,
        export=image.export,
        read_only=True,
        connections=CONNECTIONS,
        beside=beside,
    )
    with ctx.scope():
        served = image_server.connect(ctx, host, server)
        with GrowingEndpoint(ctx, served.uris, served.wire, image.name) as endpoint:
            yield View(endpoint, served.exporter)
