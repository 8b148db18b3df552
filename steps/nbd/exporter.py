"""A qemu-nbd on an image's host, leashed to us: on a unix socket, or on one of the host's ports of 127.0.0.1
where its sshd forwards no unix sockets. Ready when it has the image open and listens; whether it answers
shows the handshake through the forwards that the data will take."""

from __future__ import annotations

import posixpath
import random
import secrets
from dataclasses import dataclass, replace

from runner.base.errors import BY_SIGNAL, SendenseError
from runner.base.waiting import until
from runner.hosts.host import Host
from runner.hosts.tunnel import ssh_version
from runner.step.context import Context
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import ExportInfo
from steps.nbd import forwards
from steps.nbd.announced import Announced
from steps.nbd.handshake import ATTEMPT, handshake_through
from steps.nbd.parallelism import choose
from steps.qemu import nbd_server
from steps.values.wire import Wire

START_TIMEOUT = 30.0
"""Until it serves. qemu-nbd opens the image first, which takes a busy disk seconds."""

REACH_TIMEOUT = 15.0
"""Four ssh processes take 0.3 s on a quiet machine; a server that drops what it may not forward does so at
once."""


CACHES: tuple[nbd_server.Cache, ...] = ("none", "writeback")
"""The second where the first is not to be had. Past the page cache a read proves what storage has, and a
FLUSH has nothing left to write: 1 GiB with 569 MiB of data was written and flushed in 1.35 s, through the
page cache in 2.14 s."""


@dataclass(frozen=True)
class Server:
    """What a qemu-nbd is to serve: `key` and `path` name the disk and its image in messages, `image` is what
    it opens."""

    key: int
    path: str
    image: nbd_server.Image
    capacity: int
    export: str
    read_only: bool
    connections: int
    """Forwards that carry data at once."""
    beside: int = 0
    """Connections of programs on the same host."""

    @property
    def shared(self) -> int:
        """Connections it takes at once."""
        forwarded = self.connections * nbd_server.CONNECTIONS_PER_FORWARD
        return forwarded + nbd_server.SPARE_CONNECTIONS + self.beside


@dataclass(frozen=True)
class Exporter:
    """One that serves. `at`: a unix socket on its host, or a port of 127.0.0.1 there."""

    at: str | int
    export: str
    cached: bool
    """Reads may come from the host's page cache."""

    @property
    def uri(self) -> str:
        """As seen on its host."""
        if isinstance(self.at, str):
            return nbd_server.uri(self.at, self.export)
        return nbd_server.port_uri(self.at, self.export)

    @property
    def address(self) -> str:
        """What a forward leads to."""
        return self.at if isinstance(self.at, str) else f"127.0.0.1:{self.at}"


@dataclass(frozen=True)
class ExpectedExport:
    """What must be found behind a forward to a host: `address` is what it leads to there."""

    key: int
    address: str
    export: str
    capacity: int


class ExporterError(SendenseError):
    """qemu-nbd did not start, or serves something else than the image."""

    def __init__(self, host: str, key: int, path: str, why: str, *, transient: bool = False) -> None:
        super().__init__(f"qemu-nbd on {host} cannot serve disk {key} from {path}: {why}")
        self.transient = transient


class WrongSizeError(SendenseError):
    def __init__(self, host: str, expected: ExpectedExport, found: int) -> None:
        super().__init__(
            f"the export of disk {expected.key} on {host} has {found} bytes where the disk has "
            f"{expected.capacity}: it is another disk's, so nothing was written"
        )


class _PortTakenError(Exception):
    """Another process listens on the port."""


class _NoDirectReadsError(Exception):
    """The image's file system has no O_DIRECT."""


def start(ctx: Context, host: Host, server: Server) -> Exporter:
    """It ends with `ctx`. Raises ExporterError, ToolMissing, ForwardsForbidden, HostError, Interrupted."""
    nbd_server.QEMU_NBD.require(ctx, host)
    kind = forwards.kind_for(ctx, host)
    directory = ctx.closing.enter_context(host.tempdir())
    if kind == "sockets":
        socket = posixpath.join(directory, "nbd")
        return Exporter(socket, server.export, _serve(ctx, host, server, socket, directory) != "none")
    ctx.warn(f"disk {server.key}: {forwards.exposed(host)}")
    # Once ours has died, another's exporter may have the port: it has no export of this name.
    server = replace(server, export=f"{server.export}-{secrets.token_hex(4)}")
    port, cache = _serve_on_a_port(ctx, host, server, directory)
    return Exporter(port, server.export, cache != "none")


def _error(host: Host, server: Server, why: str, *, transient: bool = False) -> ExporterError:
    return ExporterError(host.name, server.key, server.path, why, transient=transient)


def _serve_on_a_port(
    ctx: Context, host: Host, server: Server, directory: str
) -> tuple[int, nbd_server.Cache]:
    """By trying to bind, in random order, since other disks look for one at the same time."""
    # No asking which port is free: between the answer and the bind another exporter takes it.
    for port in random.sample(host.ports, len(host.ports)):
        try:
            return port, _serve(ctx, host, server, port, directory)
        except _PortTakenError:
            continue
    range_ = f"every port from {host.ports.start} to {host.ports.stop - 1}"
    raise _error(
        host, server, f"{range_} of 127.0.0.1 there is taken; widen `ports` of the host", transient=True
    )


def _serve(ctx: Context, host: Host, server: Server, at: str | int, directory: str) -> nbd_server.Cache:
    """Starts it and waits for it; returns how it reads. Raises ExporterError, _PortTakenError."""
    pid_file = posixpath.join(directory, "pid")
    for cache in CACHES:
        argv = nbd_server.argv(
            server.image,
            at,
            server.export,
            read_only=server.read_only,
            shared=server.shared,
            cache=cache,
            pid_file=pid_file,
        )
        child = Announced(host, argv, pid_file)
        ctx.closing.callback(child.stop)
        try:
            _await_ready(ctx, host, server, child)
        except _NoDirectReadsError:
            continue
        ctx.children.append(child)
        return cache
    raise _error(host, server, "it asked for O_DIRECT although it was told not to")


def _await_ready(ctx: Context, host: Host, server: Server, child: Announced) -> None:
    def is_ready() -> bool:
        if not (ready := child.ready()):
            _check_alive(host, server, child)
        return ready

    def late() -> ExporterError:
        return _error(host, server, f"it did not serve within {START_TIMEOUT:.0f} s", transient=True)

    until(is_ready, stop=ctx.stop, timeout=START_TIMEOUT, late=late)


def _check_alive(host: Host, server: Server, child: Announced) -> None:
    if (code := child.poll()) is None:
        return
    said = " ".join(child.stderr().split()) or "it printed nothing"
    if nbd_server.refuses_direct(said):
        raise _NoDirectReadsError
    if nbd_server.port_is_taken(said):
        raise _PortTakenError
    transient = code > BY_SIGNAL or nbd_server.is_in_use(said)
    raise _error(host, server, f"it ended with exit code {code}: {said}", transient=transient)


def reach(
    ctx: Context, host: Host, expected: ExpectedExport, connections: int
) -> tuple[tuple[str, ...], ExportInfo, Wire | None]:
    """URIs of a socket here that passed a handshake, what it said, and how more connections are opened once
    much is moved: to another host, these go through the ssh process that its small work shares. Raises
    WrongSizeError, ConnectFailed, HostError, Interrupted."""
    uri, seen = _open_shared(ctx, host, expected)
    if not (seen.multi_conn or seen.read_only):
        # A FLUSH covers its own connection only; a reader does not mind.
        return (uri,), seen, None
    limit = connections * nbd_server.CONNECTIONS_PER_FORWARD
    if host.local:
        return (uri,) * choose(round_trip=None, limit=limit).connections, seen, None
    chosen = choose(round_trip=seen.round_trip, limit=limit)
    wire = Wire(
        host=host.name,
        address=expected.address,
        export=expected.export,
        ssh_processes=chosen.ssh_processes,
        connections=chosen.connections,
        round_trip=seen.round_trip,
    )
    return (uri,) * wire.connections_each, seen, wire


def _open_shared(ctx: Context, host: Host, expected: ExpectedExport) -> tuple[str, ExportInfo]:
    """An ssh that logged in before the network was cut may live and carry nothing: then a fresh one."""
    if host.local:
        return _open(ctx, host, expected, REACH_TIMEOUT)
    try:
        return _open(ctx, host, expected, min(ATTEMPT, REACH_TIMEOUT))
    except ConnectFailed:
        return _open(ctx, host, expected, REACH_TIMEOUT)


def _open(ctx: Context, host: Host, expected: ExpectedExport, timeout: float) -> tuple[str, ExportInfo]:
    """The URI through a forward, and what the handshake said."""
    tunnel = ctx.closing.enter_context(host.forward((expected.address,)))
    if tunnel.children:
        ctx.uses("ssh", ctx.once("ssh", ssh_version))
    uri = nbd_server.uri(tunnel.sockets[0], expected.export)
    name = f"the export of disk {expected.key} on {host.name}"
    try:
        seen = handshake_through(ctx, host.name, tunnel, uri, name, timeout=timeout)
    except ConnectFailed:
        tunnel.retire()
        raise
    ctx.children.extend(tunnel.children)
    # On a port another user's server may answer, and of another disk: size and export name tell.
    if seen.size != expected.capacity:
        raise WrongSizeError(host.name, expected, seen.size)
    return uri, seen
