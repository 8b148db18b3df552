"""start-nbd: a qemu-nbd on the image's host, leashed to us."""

from __future__ import annotations

import posixpath
import time
from typing import Annotated, Literal

from pydantic import Field

from runner.errors import SendenseError
from runner.hosts import Child, Host
from runner.model import HOW, JobModel
from runner.step import Context, Empty, Given, Lifetime, Step
from steps.copy.nbd import ExportInfo
from steps.create_qcow2 import Image
from steps.handshake import PAUSE, handshake_through
from steps.qemu import img, nbd_server
from steps.repository import layout

START_TIMEOUT = 30.0
"""Until its socket is there. qemu-nbd opens the image first, which takes a busy disk seconds."""

ANSWER_TIMEOUT = 10.0
"""From then on to its answer."""


class Export(Given):
    image: Image
    host: str
    socket: str
    """Unix socket on the host."""
    export: str
    """NBD export name: <vm slug>-disk-<key>"""
    read_only: bool
    shared: int
    """Connections the server takes at once."""
    cached: bool
    """Reads may come from the host's page cache."""
    nbd_targets: str
    """The target as ``<disk key>:<NBD URI>``, such as ``2000:nbd+unix:///pgtest1-disk-2000?socket=…``."""


class StartNbdIn(JobModel):
    image: Image
    mode: Literal["write", "read-only"] = "write"
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """That carry data at once; the server takes a few more"""


class ExporterError(SendenseError):
    """qemu-nbd did not start, or serves something else than the image."""

    def __init__(self, image: Image, why: str, *, transient: bool = False) -> None:
        super().__init__(f"qemu-nbd on {image.host} cannot serve disk {image.disk.key} from {image.path}: {why}")
        self.transient = transient


class StartNbd(Step[StartNbdIn, Empty, Export]):
    """Serves an image over NBD on a unix socket of its host, for writing or, past the host's page cache, for reading back.
    It is ready when it answered an NBD handshake; it ends with the run."""

    name = "start-nbd"
    lifetime = Lifetime.PROCESS
    In = StartNbdIn
    Out = Export
    example = 'uses: start-nbd, each: {disk: "${{ discover.disks }}"}, with: {image: "${{ image }}", mode: read-only}'
    errors = (
        "the image is missing or has another size than the disk",
        "qemu-nbd ended at once (its standard error is shown)",
        "no NBD handshake in time (sshd may not allow forwards to unix sockets)",
    )

    def run(self, ctx: Context, inputs: StartNbdIn, live: Empty) -> Export:
        image, host = inputs.image, ctx.host(inputs.image.host)
        _check_image(host, image)
        socket = posixpath.join(ctx.closing.enter_context(host.tempdir()), "nbd")
        export = layout.export(layout.slug_of(posixpath.dirname(image.directory)), image.disk.key)
        read_only = inputs.mode == "read-only"
        shared = inputs.connections + nbd_server.SPARE_CONNECTIONS
        cache = _serve(ctx, host, image, socket, export, read_only=read_only, shared=shared)
        return Export(
            image=image,
            host=host.name,
            socket=socket,
            export=export,
            read_only=read_only,
            shared=shared,
            cached=cache != "none",
            nbd_targets=f"{image.disk.key}:{nbd_server.uri(socket, export)}",
        )


class _NoDirectReadsError(Exception):
    """The image's file system has no O_DIRECT."""


def _check_image(host: Host, image: Image) -> None:
    if not host.exists(image.path):
        raise ExporterError(image, "there is no such image; run the job again to make it")
    # Another exporter of ours may have it open.
    size = img.info(host, image.path, force_share=True).virtual_size
    if size != image.capacity:
        raise ExporterError(image, f"the image has {size} bytes, the disk {image.capacity}")


def _serve(
    ctx: Context, host: Host, image: Image, socket: str, export: str, *, read_only: bool, shared: int
) -> nbd_server.Cache:
    """Starts the server and waits for it; returns how it reads. Raises ExporterError, ConnectFailed."""
    caches: tuple[nbd_server.Cache, ...] = ("none", "writeback") if read_only else ("writeback",)
    for cache in caches:
        child = ctx.start(
            host,
            nbd_server.argv(image.path, socket, export, read_only=read_only, shared=shared, cache=cache),
        )
        try:
            seen = _ready(ctx, host, image, child, socket, export)
        except _NoDirectReadsError:
            # Its death is no news about the node: the next one serves.
            ctx.children.remove(child)
            continue
        if (seen.size, seen.read_only) != (image.capacity, read_only):
            raise ExporterError(
                image, f"it serves {seen.size} bytes, read-only {seen.read_only}, not what was asked for"
            )
        return cache
    raise ExporterError(image, "it asked for O_DIRECT though it was told not to")


def _ready(ctx: Context, host: Host, image: Image, child: Child, socket: str, export: str) -> ExportInfo:
    def alive() -> None:
        if (code := child.poll()) is None:
            return
        said = " ".join(child.stderr().split()) or "it said nothing"
        if nbd_server.refuses_direct(said):
            raise _NoDirectReadsError
        raise ExporterError(image, f"it ended with exit code {code}: {said}", transient=nbd_server.is_in_use(said))

    deadline = time.monotonic() + START_TIMEOUT
    while not host.exists(socket):
        ctx.check_stop()
        alive()
        if time.monotonic() > deadline:
            raise ExporterError(image, f"it made no socket in {START_TIMEOUT:.0f} s", transient=True)
        ctx.stop.wait(PAUSE)
    name = f"the export of disk {image.disk.key} on {host.name}"
    with host.forward((socket,)) as forwards:
        uri = nbd_server.uri(forwards.sockets[0], export)
        return handshake_through(ctx, host.name, forwards, uri, name, timeout=ANSWER_TIMEOUT, alive=alive)
