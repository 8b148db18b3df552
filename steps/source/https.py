"""A frozen disk served by nbdkits that read its flat file over HTTPS."""

from __future__ import annotations

import posixpath

from runner.hosts.host import Host
from runner.step.context import Context
from steps.nbd.parallelism import choose
from steps.source import nbdkit_curl
from steps.source.server import SourceServer
from steps.values.snapshot import SnapshotTaken
from steps.values.wire import Wire
from steps.vsphere import folder
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.inventory import FrozenDisk
from steps.vsphere.names import DatastoreFile, datastore_file


class HttpsServer(SourceServer):
    """Several nbdkits on the disk's flat file, one connection each; they share one session's cookie."""

    handshake_timeout = nbdkit_curl.REQUEST_TIMEOUT + 15.0
    complaints_are_final = True
    takes_more_connections = True

    def __init__(
        self,
        ctx: Context,
        host: Host,
        client: Client,
        snapshot: SnapshotTaken,
        disk: FrozenDisk,
        connections: int,
    ) -> None:
        super().__init__(ctx, host, client, snapshot, disk)
        self._connections = connections

    def open(self) -> tuple[str, ...]:
        self._client.renew()
        directory = self._ctx.closing.enter_context(self._host.tempdir())
        ca_file, cookie_file = posixpath.join(directory, "ca.pem"), posixpath.join(directory, "cookie")
        self._host.write(ca_file, self._client.trust().pem.encode())
        self._lend_cookie(cookie_file)
        url = folder.url(self._client.vcenter, self._snapshot.datacenter, self._file())

        def command(socket: str, pid_file: str) -> tuple[str, ...]:
            return nbdkit_curl.argv(
                url, cookie_file=cookie_file, ca_file=ca_file, socket=socket, pid_file=pid_file
            )

        children = self._start(directory, [command] * self._connections)
        uris = self._connect(directory, children)
        if not self._host.local:
            chosen = choose(round_trip=self.round_trip, limit=len(children))
            self.wire = Wire(
                host=self._host.name,
                addresses=self._sockets(directory, len(children)),
                export="",
                ssh_processes=chosen.ssh_processes,
                connections=len(children),
                round_trip=self.round_trip,
            )
        return uris

    def _file(self) -> DatastoreFile:
        return folder.flat_file(datastore_file(self._disk.file, (self._disk.datastore,)))

    def _failure_of(self, stderr: str) -> VSphereError:
        # A session that ended may have been renewed by another thread meanwhile: what tells is whether we are
        # let in now.
        return nbdkit_curl.failure(
            self._what, stderr, session_ended=nbdkit_curl.is_refusal(stderr) and self._may_read()
        )

    def _may_read(self) -> bool:
        return self._client.may_read(self._snapshot.datacenter, self._file())

    def _lend_cookie(self, path: str) -> None:
        def take(cookie: str) -> None:
            self._host.write(path, cookie.encode())

        def failed(error: Exception) -> None:
            self._ctx.warn(
                f"the new session's cookie did not reach {self._host.name}, reads will fail soon: {error}"
            )

        self._ctx.closing.enter_context(self._client.lend_cookie(take, failed))
