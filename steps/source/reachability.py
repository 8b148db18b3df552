"""Whether the host that reads disks gets through to the bytes, tried before a snapshot is made for them.

Over HTTPS by the very nbdkit that will read, on the VM's .vmx: a file that no running VM keeps to itself. It
tells what only curl there sees: names, routes, proxies, a certificate that names another server (which a
pinned one lets pass here). For VDDK by TCP connections, as its library opens nothing but a snapshot's disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from runner.base.errors import Interrupted, SendenseError, is_transient
from runner.base.waiting import again
from runner.events.check_results import Observation, good, noted, wrong
from runner.hosts.host import Host
from runner.step.context import Context
from steps.copy.nbd import ExportInfo
from steps.source import nbdkit_curl
from steps.source.disk_file import DiskFile
from steps.source.https import HttpsServer
from steps.source.nbdkit_vddk import VddkOptions
from steps.vsphere import machine
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.names import DatastoreFile


def examine_https(ctx: Context, host: Host, client: Client, disk: DiskFile) -> Iterator[Observation]:
    failure = ctx.once(
        ("failure of /folder", host.name, client.name), lambda: _failure(ctx, host, client, disk)
    )
    subject, looked_at = f"host {host.name}", f"files of vCenter {client.name} over HTTPS"
    if failure:
        yield wrong(subject, looked_at, failure)
    else:
        yield good(subject, looked_at, f"nbdkit there is answered by {client.vcenter.authority}")


def examine_vddk(
    ctx: Context, host: Host, client: Client, vm: str, options: VddkOptions
) -> Iterator[Observation]:
    """Where sshd lets nobody ask from there, nothing is said. Of an ESXi host a note: it may have an address
    for backups alone (a VMkernel adapter with the service vSphereBackupNFC), which only the library is
    told."""
    subject, at = f"host {host.name}", client.vcenter
    looked_at = f"port {at.port} of vCenter {client.name}"
    match host.reach(at.server, at.port):
        case "":
            yield good(subject, looked_at, f"{at.authority} can be reached")
        case str(why):
            found = f"{at.authority} cannot be reached from host {host.name}: {why}"
            yield wrong(subject, looked_at, found, "VDDK there logs in at it: open that port to it")
    if not {"nbd", "nbdssl"}.issuperset(options.transports):
        return
    esxi, port = machine.esxi_host(client, vm), options.nfc_host_port
    looked_at = f"port {port} of ESXi host {esxi}"
    match host.reach(esxi, port):
        case "":
            yield good(subject, looked_at, "it can be reached")
        case str(why):
            found = f"port {port} of ESXi host {esxi} cannot be reached from host {host.name}: {why}"
            yield noted(
                subject,
                looked_at,
                found,
                "VDDK reads through it, unless ESXi has an address for backups: open it",
            )


def _failure(ctx: Context, host: Host, client: Client, disk: DiskFile) -> str:
    """Why it does not get through; empty if it does. Once more where that may help: a night must not end for
    a moment's refusal."""

    def attempt(number: int) -> None:
        with suppress(_Answered), ctx.closing:
            _Configuration(ctx, host, client, disk).open()

    try:
        again(attempt, on=is_transient, stop=ctx.stop, attempts=2)
    except Interrupted:
        raise
    except SendenseError as error:
        return error.message
    return ""


class _Answered(VSphereError):
    """By an HTTP status: the way is there, and what the account may read is asked of the vCenter."""


class _Configuration(HttpsServer):
    """The VM's .vmx, read as a disk of it is."""

    def __init__(self, ctx: Context, host: Host, client: Client, disk: DiskFile) -> None:
        self._vmx = machine.vmx_file(client, disk.vm)
        super().__init__(ctx, host, client, disk, connections=1)
        self._what = f"{self._vmx} through {client.vcenter.authority} from host {host.name}"

    def _file(self) -> DatastoreFile:
        return self._vmx

    def _compare(self, info: ExportInfo) -> None:
        return None

    def _failure_of(self, stderr: str) -> VSphereError:
        return _Answered("") if nbdkit_curl.status(stderr) else super()._failure_of(stderr)
