"""start-nbd: a qemu-nbd on the image's host, leashed to us."""

from __future__ import annotations

import posixpath
import random
import secrets
import time
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from runner.errors import SendenseError
from runner.hosts import Child, Host
from runner.model import HOW, JobModel
from runner.observations import Observation
from runner.step import Context, Empty, Given, Lifetime, Step
from steps import forwards, tools
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
    """The image that is served."""
    host: str
    """The job's name of the host that serves it."""
    socket: str
    """Unix socket on the host; empty where it listens on `port`."""
    export: str
    """NBD export name: <vm slug>-disk-<key>"""
    read_only: bool
    """It cannot be written to."""
    shared: int
    """Connections the server takes at once."""
    cached: bool
    """Reads may come from the host's page cache."""
    nbd_targets: str
    """The target as ``<disk key>:<NBD URI>``, such as ``2000:nbd+unix:///pgtest1-disk-2000?socket=…``."""
    port: int | None = None
    """Of 127.0.0.1 on the host, where its sshd forwards no unix sockets."""

    @property
    def address(self) -> str:
        """What a forward leads to."""
        return self.socket if self.port is None else f"127.0.0.1:{self.port}"


class StartNbdIn(JobModel):
    image: Image
    """The image to serve."""
    mode: Literal["write", "read-only"] = "write"
    """To write, or to read back what was written."""
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """That carry data at once; the server takes a few more"""


class ExporterError(SendenseError):
    """qemu-nbd did not start, or serves something else than the image."""

    def __init__(self, image: Image, why: str, *, transient: bool = False) -> None:
        super().__init__(f"qemu-nbd on {image.host} cannot serve disk {image.disk.key} from {image.path}: {why}")
        self.transient = transient


class StartNbd(Step[StartNbdIn, Empty, Export]):
    """Serves an image over NBD on its host. For writing or, past the host's page cache, for reading back, on a unix socket;
    where the host's sshd forwards no unix sockets, on one of the host's `ports` of 127.0.0.1. It is ready when it answered an NBD handshake; it ends with the run."""

    name = "start-nbd"
    lifetime = Lifetime.PROCESS
    In = StartNbdIn
    Out = Export
    example = 'uses: start-nbd, each: {disk: "${{ discover.disks }}"}, with: {image: "${{ image }}", mode: read-only}'
    errors = (
        "the image is missing or has another size than the disk",
        "qemu-nbd ended at once (its standard error is shown)",
        "its program is missing or too old there",
        "the host's sshd forwards neither unix sockets nor the host's `ports` (the lines to add are shown)",
        "no NBD handshake in time",
    )

    def run(self, ctx: Context, inputs: StartNbdIn, live: Empty) -> Export:
        image, host = inputs.image, ctx.host(inputs.image.host)
        tools.require(ctx, host, tools.QEMU_NBD)
        _check_image(host, image)
        way = forwards.way_to(ctx, host)
        server = _Server(
            image,
            export=layout.export(layout.slug_of(posixpath.dirname(image.directory)), image.disk.key),
            read_only=inputs.mode == "read-only",
            shared=inputs.connections * nbd_server.CONNECTIONS_PER_FORWARD + nbd_server.SPARE_CONNECTIONS,
        )
        at: str | int
        if way == "sockets":
            at = posixpath.join(ctx.closing.enter_context(host.tempdir()), "nbd")
            cache = _serve(ctx, host, server, at)
        else:
            ctx.warn(f"disk {image.disk.key}: {forwards.exposed(host)}")
            # Another's exporter may have the port and answer before ours has seen that: it has no export of this name.
            server = replace(server, export=f"{server.export}-{secrets.token_hex(4)}")
            at, cache = _serve_on_a_port(ctx, host, server)
        uri = nbd_server.uri(at, server.export) if isinstance(at, str) else nbd_server.port_uri(at, server.export)
        return Export(
            image=image,
            host=host.name,
            socket=at if isinstance(at, str) else "",
            export=server.export,
            read_only=server.read_only,
            shared=server.shared,
            cached=cache != "none",
            nbd_targets=f"{image.disk.key}:{uri}",
            port=at if isinstance(at, int) else None,
        )

    def examine(self, ctx: Context, inputs: StartNbdIn) -> tuple[Observation, ...]:
        host = ctx.host(inputs.image.host)
        program = tools.examine(ctx, host, tools.QEMU_NBD)
        return (program,) if program.state == "wrong" else (program, forwards.examine(ctx, host))


@dataclass(frozen=True)
class _Server:
    """What a qemu-nbd is to serve."""

    image: Image
    export: str
    read_only: bool
    shared: int


class _PortTakenError(Exception):
    """Another process listens on the port."""


class _NoDirectReadsError(Exception):
    """The image's file system has no O_DIRECT."""


def _check_image(host: Host, image: Image) -> None:
    if not host.exists(image.path):
        raise ExporterError(image, "there is no such image; run the job again to make it")
    # Another exporter of ours may have it open.
    size = img.info(host, image.path, force_share=True).virtual_size
    if size != image.capacity:
        raise ExporterError(image, f"the image has {size} bytes, the disk {image.capacity}")


def _serve_on_a_port(ctx: Context, host: Host, server: _Server) -> tuple[int, nbd_server.Cache]:
    """By trying to bind, in random order, since other disks look for one at the same time."""
    for port in random.sample(host.ports, len(host.ports)):
        try:
            return port, _serve(ctx, host, server, port)
        except _PortTakenError:
            continue
    raise ExporterError(
        server.image,
        f"every port from {host.ports.start} to {host.ports.stop - 1} of 127.0.0.1 there is taken; widen `ports` of the host",
        transient=True,
    )


def _serve(ctx: Context, host: Host, server: _Server, at: str | int) -> nbd_server.Cache:
    """Starts it and waits for it; returns how it reads. Raises ExporterError, ConnectFailed, _PortTakenError."""
    image, read_only = server.image, server.read_only
    caches: tuple[nbd_server.Cache, ...] = ("none", "writeback") if read_only else ("writeback",)
    for cache in caches:
        argv = nbd_server.argv(image.path, at, server.export, read_only=read_only, shared=server.shared, cache=cache)
        child = ctx.start(host, argv)
        try:
            seen = _ready(ctx, host, server, child, at)
        except _NoDirectReadsError:
            # Its death is no news about the node: the next one serves.
            ctx.children.remove(child)
            continue
        except _PortTakenError:
            ctx.children.remove(child)
            raise
        if (seen.size, seen.read_only) != (image.capacity, read_only):
            raise ExporterError(
                image, f"it serves {seen.size} bytes, read-only {seen.read_only}, not what was asked for"
            )
        return cache
    raise ExporterError(image, "it asked for O_DIRECT though it was told not to")


def _ready(ctx: Context, host: Host, server: _Server, child: Child, at: str | int) -> ExportInfo:
    image = server.image

    def alive() -> None:
        if (code := child.poll()) is None:
            return
        said = " ".join(child.stderr().split()) or "it said nothing"
        if nbd_server.refuses_direct(said):
            raise _NoDirectReadsError
        if isinstance(at, int) and nbd_server.port_is_taken(said):
            raise _PortTakenError
        raise ExporterError(image, f"it ended with exit code {code}: {said}", transient=nbd_server.is_in_use(said))

    deadline = time.monotonic() + START_TIMEOUT
    while isinstance(at, str) and not host.exists(at):
        ctx.check_stop()
        alive()
        if time.monotonic() > deadline:
            raise ExporterError(image, f"it made no socket in {START_TIMEOUT:.0f} s", transient=True)
        ctx.stop.wait(PAUSE)
    name = f"the export of disk {image.disk.key} on {host.name}"
    with host.forward((at if isinstance(at, str) else f"127.0.0.1:{at}",)) as ways:
        uri = nbd_server.uri(ways.sockets[0], server.export)
        return handshake_through(ctx, host.name, ways, uri, name, timeout=ANSWER_TIMEOUT, alive=alive)
