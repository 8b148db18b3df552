"""An image served over NBD on its host, for as long as somebody works with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.hosts.host import Host
from runner.step.context import Context
from steps.nbd import exporter
from steps.nbd.exporter import ExpectedExport, Exporter, Server
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage
from steps.values.wire import Wire


@dataclass(frozen=True)
class Connected:
    exporter: Exporter
    uris: tuple[str, ...]
    """NBD URIs here, one a connection; each passed a handshake."""
    size: int
    read_only: bool
    wire: Wire | None
    """What more connections can be opened over, if it is another host's."""


def connect(ctx: Context, host: Host, server: Server) -> Connected:
    """Starts it, and what leads there; both end with `ctx`. Raises ExporterError, ToolMissing, HostError,
    ConnectFailed, WrongSizeError, Interrupted."""
    if not host.exists(server.path):
        raise exporter.ExporterError(host.name, server.key, server.path, "the image no longer exists")
    served = exporter.start(ctx, host, server)
    expected = ExpectedExport(server.key, served.address, served.export, server.capacity)
    uris, seen, wire = exporter.reach(ctx, host, expected, server.connections)
    return Connected(served, uris, seen.size, seen.read_only, wire)


def serve(
    ctx: Context, host: Host, image: DiskImage, mode: Literal["write", "read-only"], connections: int
) -> Serving:
    """As `connect`."""
    server = Server(
        key=image.key,
        path=image.path,
        image=image.nodes,
        capacity=image.capacity,
        export=image.export,
        read_only=mode == "read-only",
        connections=connections,
    )
    served = connect(ctx, host, server)
    return Serving(
        image=image,
        there=served.exporter.uri,
        uris=served.uris,
        size=served.size,
        read_only=served.read_only,
        cached=served.exporter.cached,
        wire=served.wire,
    )
