"""start-nbd: a qemu-nbd on the image's host, leashed to us."""

from __future__ import annotations

import posixpath
from typing import Annotated

from pydantic import Field

from runner.base.model import HOW, JobModel
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.nbd import exporter, forwards
from steps.nbd.exporter import ExporterError
from steps.qemu import img, nbd_server
from steps.repository import layout
from steps.values.export import Export
from steps.values.image import Image


class StartNbdIn(JobModel):
    image: Image
    """The image to serve."""
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """That carry data at once; the server takes a few more"""


class StartNbd(Step[StartNbdIn, Empty, Export]):
    """Serves an image over NBD on its host, for writing. On a unix socket; where the host's sshd forwards no
    unix sockets, on one of the host's `ports` of 127.0.0.1. It is ready when it answered an NBD handshake; it
    ends with the run."""

    name = "start-nbd"
    lifetime = Lifetime.PROCESS
    In = StartNbdIn
    Out = Export
    tools = (nbd_server.QEMU_NBD,)
    removed = {
        "mode": "verify serves the image that it reads back itself: remove this line, or the whole step if "
        "it says read-only"
    }
    example = 'uses: start-nbd, each: {disk: "${{ discover.disks }}"}, with: {image: "${{ image }}"}'
    errors = (
        "the image is missing or has another size than the disk",
        "qemu-nbd ended at once (its standard error is shown)",
        "its program is missing or too old there",
        "the host's sshd forwards neither unix sockets nor the host's `ports` (the lines to add are shown)",
        "no NBD handshake in time",
    )

    def run(self, ctx: Context, inputs: StartNbdIn, live: Empty) -> Export:
        image, host = inputs.image, ctx.host(inputs.image.host)
        nbd_server.QEMU_NBD.require(ctx, host)
        _check_image(host, image)
        server = exporter.Server(
            key=image.key,
            path=image.path,
            image=image.path,
            capacity=image.capacity,
            export=layout.export(layout.slug_of(posixpath.dirname(image.directory)), image.key),
            read_only=False,
            connections=inputs.connections,
        )
        served = exporter.start(ctx, host, server)
        return Export(
            image=image,
            host=host.name,
            socket=served.at if isinstance(served.at, str) else "",
            export=served.export,
            shared=server.shared,
            nbd_targets=f"{image.key}:{served.uri}",
            port=served.at if isinstance(served.at, int) else None,
        )

    def preflight(self, ctx: Context | None, known: Known[StartNbdIn, Export]) -> Preflight[Export]:
        if ctx is None or known.inputs is None:
            return Preflight()
        host = ctx.host(known.inputs.image.host)
        program = nbd_server.QEMU_NBD.observe(ctx, host)
        if program.state == "wrong":
            return Preflight(observations=(program,))
        return Preflight(observations=(program, forwards.examine(ctx, host)))


def _check_image(host: Host, image: Image) -> None:
    try:
        # Another exporter of ours may have it open.
        size = img.info(host, image.path, force_share=True).virtual_size
    except img.BadImageError:
        if host.exists(image.path):
            raise
        why = "there is no such image; run the job again to make it"
        raise ExporterError(host.name, image.key, image.path, why) from None
    if size != image.capacity:
        why = f"the image has {size} bytes, the disk {image.capacity}"
        raise ExporterError(host.name, image.key, image.path, why)
