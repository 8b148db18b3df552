"""serve-image: any image over NBD, with local sockets that lead to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.base.model import HOW, JobModel
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.nbd import forwards
from steps.nbd.image_server import serve
from steps.qemu import nbd_server
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage

PROBE_TIMEOUT = 10.0


class ServeImageIn(JobModel):
    image: DiskImage
    """The image, with its backing images"""
    mode: Literal["write", "read-only"] = "read-only"
    """Whether it is to be written to"""
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """ssh processes at most, if it is on another host and much is moved"""


class ServeImage(Step[ServeImageIn, Empty, Serving]):
    """Serves an image over NBD on its host, and leads local sockets to it. Each backing image is
    named to qemu-nbd with its format: none is probed, and nothing else is opened. It ends with the run."""

    name = "serve-image"
    lifetime = Lifetime.PROCESS
    In = ServeImageIn
    Out = Serving
    tools = (nbd_server.QEMU_NBD,)
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
            return super().probe(ctx, out) and all(
                probe(uri, PROBE_TIMEOUT).size == out.size for uri in set(out.uris)
            )
        except ConnectFailed:
            return False

    def preflight(self, ctx: Context | None, known: Known[ServeImageIn, Serving]) -> Preflight[Serving]:
        if ctx is None or known.inputs is None:
            return Preflight()
        host = ctx.host(known.inputs.image.host)
        program = nbd_server.QEMU_NBD.observe(ctx, host)
        if program.state == "wrong":
            return Preflight(observations=(program,))
        return Preflight(observations=(program, forwards.examine(ctx, host)))
