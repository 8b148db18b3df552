"""A qemu-nbd on an image's host, leashed to us: on a unix socket, or on one of the host's ports of 127.0.0.1
where its sshd forwards no unix sockets. Ready when it has the image open and listens; whether it answers
shows the handshake through the forwards that the data will take."""

from __future__ import annotations

import os
import posixpath
import random
import secrets
import time
from dataclasses import dataclass, replace

from runner.base.errors import BY_SIGNAL, SendenseError
from runner.base.waiting import until
from runner.hosts.host import Child, Host
from runner.hosts.tunnel import ssh_version
from runner.step.context import Context
from steps.copy.nbd import ExportInfo
from steps.nbd import forwards
from steps.nbd.handshake import handshake_through
from steps.qemu import nbd_server

START_TIMEOUT = 30.0
"""Until it serves. qemu-nbd opens the image first, which takes a busy disk seconds."""

REACH_TIMEOUT = 15.0
"""Four ssh processes take 0.3 s on a quiet machine; a server that drops what it may not forward does so at
once."""


CACHES: tuple[nbd_server.Cache, ...] = ("none", "writeback")
"""The second where the first is not to be had. Past the page cache a read proves what storage has, and a
FLUSH has nothing left to write: 1 GiB with 569 MiB of data was written and flushed in 1.35 s, through the
page cache in 2.14 s."""


LONG_WIRE = 0.05
"""Seconds that a handshake takes, some five round trips: more than that, and waiting costs more than ssh
processes do."""


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

    @property
    def shared(self) -> int:
        """Connections it takes at once."""
        return self.connections * nbd_server.CONNECTIONS_PER_FORWARD + nbd_server.SPARE_CONNECTIONS


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
        child = ctx.start(host, argv)
        try:
            _await_ready(ctx, host, server, child, pid_file)
        except _NoDirectReadsError:
            # Its death is no news about the node: the next one serves.
            ctx.children.remove(child)
            continue
        except _PortTakenError:
            ctx.children.remove(child)
            raise
        return cache
    raise _error(host, server, "it asked for O_DIRECT although it was told not to")


def _await_ready(ctx: Context, host: Host, server: Server, child: Child, pid_file: str) -> None:
    def is_ready() -> bool:
        if not (ready := host.exists(pid_file)):
            _check_alive(host, server, child)
        return ready

    def late() -> ExporterError:
        return _error(host, server, f"it did not serve within {START_TIMEOUT:.0f} s", transient=True)

    until(is_ready, stop=ctx.stop, timeout=START_TIMEOUT, late=late)


def _check_alive(host: Host, server: Server, child: Child) -> None:
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
) -> tuple[tuple[str, ...], ExportInfo]:
    """URIs of sockets here that each passed a handshake, and what the last one said. Raises WrongSizeError,
    ConnectFailed, HostError, Interrupted."""
    if host.local:
        uris, seen, _ = _open(ctx, host, expected, connections)
        return uris, seen
    # How long the wire is shows only once a forward is open: a few first, the others if it is long.
    uris, seen, took = _open(ctx, host, expected, ssh_processes(connections))
    if more := ssh_processes(connections, handshake=took) - len(uris):
        further, seen, _ = _open(ctx, host, expected, more)
        uris += further
    return uris * nbd_server.CONNECTIONS_PER_FORWARD, seen


def ssh_processes(connections: int, *, handshake: float = 0.0) -> int:
    """How many carry a disk's `connections`, where an NBD handshake through one takes so many seconds. On a
    short wire no more than there are cores, since each costs some of one (1 GiB with 569 MiB of data on two
    cores: 2.7 s through two,
    3.4 s through four, for 0.7 CPU seconds more); on a long one all, since each has a TCP window of its
    own."""
    return connections if handshake > LONG_WIRE else min(connections, len(os.sched_getaffinity(0)))


def _open(
    ctx: Context, host: Host, expected: ExpectedExport, several: int
) -> tuple[tuple[str, ...], ExportInfo, float]:
    """URIs through as many forwards, what the last one said, and the seconds that the fastest handshake
    took."""
    tunnel = ctx.closing.enter_context(host.forward((expected.address,) * several))
    if tunnel.children:
        ctx.uses("ssh", ssh_version())
    ctx.children.extend(tunnel.children)
    uris = tuple(nbd_server.uri(socket, expected.export) for socket in tunnel.sockets)
    fastest = REACH_TIMEOUT
    for number, uri in enumerate(uris, 1):
        name = f"the export of disk {expected.key} on {host.name} (forward {number} of {several})"
        began = time.monotonic()
        seen = handshake_through(ctx, host.name, tunnel, uri, name, timeout=REACH_TIMEOUT)
        fastest = min(fastest, time.monotonic() - began)
        # On a port another user's server may answer, and of another disk: size and export name tell.
        if seen.size != expected.capacity:
            raise WrongSizeError(host.name, expected, seen.size)
    return uris, seen, fastest
