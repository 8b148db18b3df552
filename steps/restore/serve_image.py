"""serve-image: any image over NBD, with local sockets that lead to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.base.model import HOW, JobModel
from runner.events.check_results import Observation
from runner.hosts.host import Host
from runner.step.step import Context, Empty, Given, Lifetime, Step
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.nbd import exporter, forwards, tools
from steps.nbd.exporter import Server, Way
from steps.points.stored import DiskImage

PROBE_TIMEOUT = 10.0


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


class ServeImageIn(JobModel):
    image: DiskImage
    """The image, with all that it lies on"""
    mode: Literal["write", "read-only"] = "read-only"
    """Whether it is to be written to"""
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """ssh processes, where it lies on another host"""


class ServeImage(Step[ServeImageIn, Empty, Serving]):
    """Serves an image over NBD on its host, and leads local sockets to it. Each image that it lies on is named to qemu-nbd with
    its format: none is probed, and nothing else is opened. It ends with the run."""

    name = "serve-image"
    lifetime = Lifetime.PROCESS
    In = ServeImageIn
    Out = Serving
    example = 'uses: serve-image, each: {disk: "${{ point.disks }}"}, with: {image: "${{ disk.image }}"}'
    errors = (
        "the image is gone",
        "qemu-nbd ended at once (its standard error is shown)",
        "its program is missing or too old there",
        "the host's sshd forwards neither unix sockets nor the host's `ports` (the lines to add are shown)",
        "the export has another size than the disk",
    )

    def run(self, ctx: Context, inputs: ServeImageIn, live: Empty) -> Serving:
        host = ctx.host(inputs.image.host)
        return serve(ctx, host, inputs.image, inputs.mode, inputs.connections)

    def probe(self, ctx: Context, out: Serving) -> bool:
        try:
            return super().probe(ctx, out) and all(probe(uri, PROBE_TIMEOUT).size == out.size for uri in set(out.uris))
        except ConnectFailed:
            return False

    def examine(self, ctx: Context, inputs: ServeImageIn) -> tuple[Observation, ...]:
        host = ctx.host(inputs.image.host)
        program = tools.examine(ctx, host, tools.QEMU_NBD)
        return (program,) if program.state == "wrong" else (program, forwards.examine(ctx, host))


def serve(ctx: Context, host: Host, image: DiskImage, mode: Literal["write", "read-only"], connections: int) -> Serving:
    """It ends with `ctx`. Raises ExporterError, ToolMissing, HostError, ConnectFailed, WrongSizeError."""
    if not host.exists(image.path):
        raise exporter.ExporterError(host.name, image.key, image.path, "there is no such image any more")
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
    way = Way(image.key, served.address, served.export, image.capacity)
    uris, seen = exporter.reach(ctx, host, way, connections)
    if not (seen.multi_conn or seen.read_only):
        # A FLUSH covers its own connection only; who just reads does not mind.
        uris = uris[:1]
    return Serving(
        image=image, there=served.uri, uris=uris, size=seen.size, read_only=seen.read_only, cached=served.cached
    )
