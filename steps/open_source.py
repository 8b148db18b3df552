"""open-source: NBD URIs on which the frozen disk can be read."""

from __future__ import annotations

import posixpath
import time
from typing import Annotated, Literal

from pydantic import Field

from runner.findings import Findings, Statement
from runner.hosts import Child, Forwards, Host
from runner.hosts.tunnel import explain
from runner.model import HOW, HostName, JobModel
from runner.step import Context, Empty, Given, Lifetime, Step
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.snapshot import SnapshotTaken
from steps.vsphere import folder
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import VSphereError
from steps.vsphere.inventory import Disk, FrozenDisk
from steps.vsphere.sources import https

START_TIMEOUT = 30.0
"""Seconds for nbdkit to listen; it does so before it asks the server anything."""

HANDSHAKE_TIMEOUT = https.REQUEST_TIMEOUT + 15.0
"""Seconds for the first connection; nbdkit opens the file in it."""

LAST_WORDS = 2.0
"""Seconds for the cause of a refused handshake to come through from nbdkit's standard error."""

PAUSE = 0.02


class OpenSourceIn(JobModel):
    snapshot: SnapshotTaken
    disk: Disk
    host: Annotated[HostName, HOW] = "local"
    """Where the disk is read, near vSphere."""
    transport: Annotated[Literal["auto", "https"], HOW] = "auto"
    """How the disk is read: `https` takes the datastore's files."""
    connections: Annotated[int, Field(ge=1, le=16), HOW] = 4
    """Processes that read the disk, one connection each."""


class Source(Given):
    snapshot: str
    """moref of the snapshot whose disk this is"""
    disk_key: int
    backing_uuid: str
    capacity: int
    transport: str
    why: str
    """Why this transport."""
    uris: tuple[str, ...]
    """NBD URIs, all of the same bytes; each passed a handshake."""
    extents: bool
    """Whether the source knows its holes."""


class WrongDisk(VSphereError):
    pass


class NoTransport(VSphereError):
    pass


class OpenSource(Step[OpenSourceIn, Empty, Source]):
    """Makes one disk of the snapshot readable over NBD, on the host that is near vSphere.

    The disk is taken by its key and backing uuid out of the snapshot's own configuration. Over HTTPS, several nbdkit
    processes read its flat file from the datastore; the session's cookie reaches them in a file that is rewritten after
    each login, and TLS is verified as the job says. They end with this run, however it ends."""

    name = "open-source"
    lifetime = Lifetime.PROCESS
    In = OpenSourceIn
    Out = Source
    example = (
        'uses: open-source, each: {disk: "${{ discover.disks }}"}, '
        'with: {snapshot: "${{ snapshot }}", disk: "${{ disk }}", host: node}'
    )
    errors = (
        "the snapshot has no such disk, or one of another size or backing",
        "the disk's file is not a flat base file, so HTTPS cannot read it",
        "the datastore refuses the file (its status and the privileges it takes are shown)",
        "nbdkit ended at once (its standard error is shown)",
    )

    def run(self, ctx: Context, inputs: OpenSourceIn, live: Empty) -> Source:
        disk = frozen_disk(inputs.snapshot, inputs.disk)
        why = _https_or_refuse(inputs.snapshot, disk, inputs.transport)
        uris = _Https(ctx, inputs, disk).open()
        return Source(
            snapshot=inputs.snapshot.moref,
            disk_key=disk.key,
            backing_uuid=disk.backing_uuid,
            capacity=disk.capacity,
            transport="https",
            why=why,
            uris=uris,
            # nbdkit offers base:allocation for every plugin; for curl it calls the whole disk allocated.
            extents=False,
        )

    def findings(self, out: Source) -> Findings:
        connections = f"{len(out.uris)} connection{'s' if len(out.uris) > 1 else ''}"
        text = (
            f"Disk {out.disk_key} was read from snapshot {out.snapshot} over {out.transport}, {connections}: {out.why}."
        )
        return Findings(statements=(Statement(about="noted", text=text),))


def frozen_disk(snapshot: SnapshotTaken, disk: Disk) -> FrozenDisk:
    """The disk as the snapshot has it. Raises WrongDisk: a key alone may by now mean another disk."""
    found = next((frozen for frozen in snapshot.disks if frozen.key == disk.key), None)
    if found is None:
        keys = ", ".join(str(frozen.key) for frozen in snapshot.disks)
        raise WrongDisk(f"disk {disk.key} ({disk.label}) is not in snapshot {snapshot.name}, which has {keys}")
    expected, seen = (disk.backing_uuid, disk.capacity), (found.backing_uuid, found.capacity)
    if expected != seen:
        raise WrongDisk(
            f"disk {disk.key} ({disk.label}) was discovered with backing {expected[0]} and {expected[1]} bytes, snapshot "
            f"{snapshot.name} has backing {seen[0]} and {seen[1]} bytes at that key: the VM was changed in between; run "
            f"with --fresh"
        )
    return found


def _https_or_refuse(snapshot: SnapshotTaken, disk: FrozenDisk, transport: str) -> str:
    if not disk.flat:
        raise NoTransport(
            f"disk {disk.key} of snapshot {snapshot.name} ({disk.file}) cannot be read over HTTPS: {disk.why_not_flat}; "
            f"such a disk takes VMware's VDDK, which this version cannot drive"
        )
    return "the job says so" if transport == "https" else "its file is a flat base file"


class _Https:
    """Opening several nbdkits on one disk; everything is registered to be closed before it is made."""

    def __init__(self, ctx: Context, inputs: OpenSourceIn, disk: FrozenDisk) -> None:
        self._ctx = ctx
        self._disk = disk
        self._host: Host = ctx.host(inputs.host)
        self._client: Client = vcenter(ctx, inputs.snapshot.vcenter)
        self._connections = inputs.connections
        self._datacenter = inputs.snapshot.datacenter
        file = folder.flat_file(disk.file)
        self._url = folder.url(self._client.vcenter, self._datacenter, file)
        self._what = f"disk {disk.key} ({file}) through {self._client.vcenter.authority} from host {self._host.name}"

    def open(self) -> tuple[str, ...]:
        self._client.renew()
        directory = self._ctx.closing.enter_context(self._host.tempdir())
        self._host.write(posixpath.join(directory, "ca.pem"), self._client.trust().pem.encode())
        self._lend_cookie(posixpath.join(directory, "cookie"))
        numbers = range(self._connections)
        children = [self._start(directory, number) for number in numbers]
        for number, child in enumerate(children):
            self._await_listening(child, posixpath.join(directory, f"{number}.pid"))
        sockets = [posixpath.join(directory, f"{number}.sock") for number in numbers]
        forwards = self._ctx.closing.enter_context(self._host.forward(sockets))
        self._ctx.children.extend(forwards.children)
        uris = tuple(f"nbd+unix:///?socket={socket}" for socket in forwards.sockets)
        for uri, child in zip(uris, children, strict=True):
            self._shake_hands(uri, child, forwards)
        return uris

    def _lend_cookie(self, path: str) -> None:
        def take(cookie: str) -> None:
            self._host.write(path, cookie.encode())

        def failed(error: Exception) -> None:
            self._ctx.warn(f"the new session's cookie did not reach {self._host.name}, reads will fail soon: {error}")

        self._ctx.closing.enter_context(self._client.lend_cookie(take, failed))

    def _start(self, directory: str, number: int) -> Child:
        argv = https.argv(
            self._url,
            cookie_file=posixpath.join(directory, "cookie"),
            ca_file=posixpath.join(directory, "ca.pem"),
            socket=posixpath.join(directory, f"{number}.sock"),
            pid_file=posixpath.join(directory, f"{number}.pid"),
        )
        return self._ctx.start(self._host, argv)

    def _await_listening(self, child: Child, pid_file: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._host.exists(pid_file):
            self._ctx.check_stop()
            if child.poll() is not None:
                raise self._failure(child)
            if time.monotonic() > deadline:
                raise https.SourceFailed(f"{self._what}: nbdkit does not listen after {START_TIMEOUT:.0f} s")
            self._ctx.stop.wait(PAUSE)

    def _shake_hands(self, uri: str, child: Child, forwards: Forwards) -> None:
        self._ctx.check_stop()
        try:
            info = probe(uri, HANDSHAKE_TIMEOUT, self._what)
        except ConnectFailed as error:
            if https.errors_in(self._last_words(child)):
                raise self._failure(child) from error
            # nbdkit knows nothing of it: the way there failed.
            raise explain(self._host.name, forwards) or error from error
        if info.size != self._disk.capacity:
            raise WrongDisk(
                f"{self._what} has {info.size} bytes, disk {self._disk.key} has {self._disk.capacity}: the file is not the "
                f"disk's"
            )

    def _failure(self, child: Child) -> VSphereError:
        return https.failure(self._what, self._last_words(child), session_ended=self._client.renew())

    def _last_words(self, child: Child) -> str:
        """Its standard error, once the cause is there or will not come any more."""
        deadline = time.monotonic() + LAST_WORDS
        while not https.errors_in(child.stderr()) and time.monotonic() < deadline:
            self._ctx.stop.wait(PAUSE)
        return child.stderr()
