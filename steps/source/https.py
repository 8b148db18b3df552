"""A disk served by an nbdkit that reads its flat file over HTTPS."""

from __future__ import annotations

import posixpath

from runner.hosts.host import Host
from runner.step.context import Context
from steps.nbd.parallelism import choose
from steps.source import nbdkit_curl
from steps.source.disk_file import DiskFile
from steps.source.server import SourceServer
from steps.values.wire import Wire
from steps.vsphere import folder
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.names import DatastoreFile, datastore_file


class HttpsServer(SourceServer):
    """One nbdkit on the disk's flat file. Each NBD connection to it is an HTTPS connection of its own; these
    read in parallel (SERIALIZE_REQUESTS in nbdkit-plugin(3): one request at a time on each)."""

    handshake_timeout = nbdkit_curl.REQUEST_TIMEOUT + 15.0
    complaints_are_final = True
    takes_more_connections = True

    def __init__(self, ctx: Context, host: Host, client: Client, disk: DiskFile, connections: int) -> None:
        super().__init__(ctx, host, client, disk)
        self._connections = connections

    def open(self) -> tuple[str, ...]:
        self._client.renew()
        directory = self._ctx.closing.enter_context(self._host.tempdir())
        ca_file, cookie_file = posixpath.join(directory, "ca.pem"), posixpath.join(directory, "cookie")
        self._host.write(ca_file, self._client.trust().pem.encode())
        self._lend_cookie(cookie_file)
        url = folder.url(self._client.vcenter, self._disk.datacenter, self._file())

        def command(socket: str, pid_file: str) -> tuple[str, ...]:
            return nbdkit_curl.argv(
                url, cookie_file=cookie_file, ca_file=ca_file, socket=socket, pid_file=pid_file
            )

        uri = self._connect(directory, self._start(directory, command))
        if self._host.local:
            return (uri,) * self._connections
        chosen = choose(round_trip=self.round_trip, limit=self._connections)
        self.wire = Wire(
            host=self._host.name,
            address=self._socket(directory),
            export="",
            ssh_processes=chosen.ssh_processes,
            connections=self._connections,
            round_trip=self.round_trip,
        )
        return (uri,) * self.wire.connections_each

    def _file(self) -> DatastoreFile:
        return folder.flat_file(datastore_file(self._disk.file, (self._disk.datastore,)))

    def _failure_of(self, stderr: str) -> VSphereError:
        # A session that ended may have been renewed by another thread meanwhile: what tells is whether we are
        # let in now.
        return nbdkit_curl.failure(
            self._what, stderr, session_ended=nbdkit_curl.is_refusal(stderr) and self._may_read()
        )

    def _may_read(self) -> bool:
        return self._client.may_read(self._disk.datacenter, self._file())

    def _lend_cookie(self, path: str) -> None:
        def take(cookie: str) -> None:
            self._host.write(path, cookie.encode())

        def failed(error: Exception) -> None:
            self._ctx.warn(
                f"the new session's cookie did not reach {self._host.name}, reads will fail soon: {error}"
            )

        self._ctx.closing.enter_context(self._client.lend_cookie(take, failed))
