"""An image served over NBD on its host, for as long as somebody works with it."""

from __future__ import annotations

from typing import Literal

from runner.hosts.host import Host
from runner.step.context import Context
from steps.nbd import exporter
from steps.nbd.exporter import ExpectedExport, Server
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage


def serve(
    ctx: Context, host: Host, image: DiskImage, mode: Literal["write", "read-only"], connections: int
) -> Serving:
    """It ends with `ctx`. Raises ExporterError, ToolMissing, HostError, ConnectFailed, WrongSizeError."""
    if not host.exists(image.path):
        raise exporter.ExporterError(host.name, image.key, image.path, "the image no longer exists")
    server = Server(
        key=image.key,
        path=image.path,
        image=image.nodes,
        capacity=image.capacity,
        export=image.export,
        read_only=mode == "read-only",
        connections=connections,
    )
    served = exporter.start(ctx, host, server)
    expected = ExpectedExport(image.key, served.address, served.export, image.capacity)
    uris, seen = exporter.reach(ctx, host, expected, connections)
    if not (seen.multi_conn or seen.read_only):
        # A FLUSH covers its own connection only; who just reads does not mind.
        uris = uris[:1]
    return Serving(
        image=image,
        there=served.uri,
        uris=uris,
        size=seen.size,
        read_only=seen.read_only,
        cached=served.cached,
    )
