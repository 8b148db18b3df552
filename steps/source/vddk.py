"""A disk served by an nbdkit that reads it, or writes it, through VMware's library."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.hosts.host import Child, Host
from runner.hosts.secrets import resolve
from runner.step.context import Context
from steps.copy.endpoint import RequestFailed
from steps.source import nbdkit_vddk
from steps.source.disk_file import DiskFile
from steps.source.nbdkit_vddk import DatastoreFull
from steps.source.open_disks import OpenDisks, Place
from steps.source.server import SourceServer
from steps.vsphere import machine
from steps.vsphere.client import Client
from steps.vsphere.errors import PermissionMissing, VSphereError


@dataclass
class _Failed:
    """Of one disk, in this execution of the run: verbs and offsets in bytes."""

    requests: set[tuple[str, int]] = field(default_factory=set)


class VddkServer(SourceServer):
    """One nbdkit and one connection for a disk: each further one would open the disk once more, which costs
    the ESXi host its buffers again. Requests of one connection run in parallel. How many disks are open at
    once is counted."""

    handshake_timeout = nbdkit_vddk.OPEN_TIMEOUT
    complaints_are_final = False

    def __init__(
        self,
        ctx: Context,
        host: Host,
        client: Client,
        disk: DiskFile,
        options: nbdkit_vddk.VddkOptions,
    ) -> None:
        super().__init__(ctx, host, client, disk)
        self._options = options
        self._serving = False

    def open(self) -> tuple[str, ...]:
        place = self._take_place()
        directory = self._ctx.closing.enter_context(self._host.tempdir())
        password_file = posixpath.join(directory, "password")
        started: list[Child] = []
        # Before it starts, so once it was stopped: its last words are here then.
        self._ctx.closing.callback(self._look_back, started, place)
        started.append(child := self._start_one(directory, password_file))
        self._host.remove(password_file)
        # At once: to move to an ssh of its own later would open the disk once more.
        uri = self._connect(directory, child, dedicated=True)
        self._serving = True
        return (uri,)

    def _file(self) -> str:
        return self._disk.file

    def _failure_of(self, stderr: str) -> VSphereError:
        return nbdkit_vddk.failure(self._what, stderr, self._disk)

    def _cause_of(self, error: RequestFailed, stderr: str) -> VSphereError:
        """The library has the same words for a bad sector and for a session that it lost: what fails at the
        same place of a disk that was opened again is the disk's. A FLUSH has no place."""
        cause = self._failure_of(stderr)
        failed = self._ctx.once(("failed requests", self._disk.endpoint), _Failed)
        request = error.verb, error.offset
        lasts = isinstance(cause, PermissionMissing | DatastoreFull)
        if not lasts and (error.verb == "flush" or request not in failed.requests):
            failed.requests.add(request)
            cause.transient = True
        return cause

    def _take_place(self) -> Place:
        disks = self._ctx.once(("open VDDK disks", self._client.name), OpenDisks)
        esxi = machine.esxi_host(self._client, self._disk.vm)

        def waits(why: str) -> None:
            self._ctx.warn(f"disk {self._disk.key} waits for another disk to finish: {why}")

        return self._ctx.closing.enter_context(disks.place(esxi, self._ctx.stop, waits))

    def _start_one(self, directory: str, password_file: str) -> Child:
        configuration_file = posixpath.join(directory, "vddk.conf")
        self._host.write(configuration_file, nbdkit_vddk.configuration(directory).encode())
        self._host.write(
            password_file, resolve(self._client.vcenter.password, self._ctx.stop).reveal().encode()
        )
        thumbprint = self._client.sha1_thumbprint()

        def command(socket: str, pid_file: str) -> tuple[str, ...]:
            return nbdkit_vddk.argv(
                self._options,
                self._client.vcenter,
                thumbprint=thumbprint,
                disk=self._disk,
                password_file=password_file,
                configuration_file=configuration_file,
                socket=socket,
                pid_file=pid_file,
            )

        return self._start(directory, command)

    def _look_back(self, started: Sequence[Child], place: Place) -> None:
        """At its end: who uses it sees only that a request failed, nbdkit's standard error says why."""
        words = "".join(child.stderr() for child in started)
        if nbdkit_vddk.out_of_buffers(words):
            place.refused()
        if not self._serving:
            return  # the failure to open said it
        if nbdkit_vddk.out_of_buffers(words):
            self._ctx.warn(str(self._failure_of(words)))
        elif said := nbdkit_vddk.failed_calls(words):
            self._ctx.warn(f"{self._what}: a call of VDDK failed while it was {self._disk.verb}: {said[-1]}")
