"""Disks over HTTPS under a lease, to and from the ESXi host that has them.

A device's URL is a ticket: who has it needs no login (govmomi, nfc/lease.go), so it is kept out of messages.
The host is another one than the vCenter, with a certificate of its own, and is known by the thumbprint that
the lease, read from the vCenter, says of it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from runner.base.units import KiB
from steps.vsphere.client import Client
from steps.vsphere.errors import NotReached, NotTrusted, Unreachable, UploadRefused
from steps.vsphere.transport import SILENCE, LongConnection, WrongCertificate

STREAM = "application/x-vnd.vmware-streamVmdk"
"""Media type of streamOptimized disks (govmomi, nfc/lease.go)."""

CONNECT_TIMEOUT = 30.0

_LARGEST_REFUSAL = 4 * KiB
"""Bytes of the text in which a host says why."""


@dataclass(frozen=True)
class Device:
    """Of a lease. `url` is a ticket, so that it does not show."""

    key: str
    """The lease's: ``/vm-10649/ParaVirtualSCSIController0:0``"""
    place: str
    """``ParaVirtualSCSIController0:0``: controller, bus and unit, as `NewMachine.place` writes them"""
    url: str
    thumbprint: str
    """SHA-1 of the host's certificate, ``AB:CD:…``; empty where the lease names none: the host is the vCenter
    itself"""

    def __repr__(self) -> str:
        return f"Device({self.key})"


def connect(client: Client, device: Device) -> LongConnection:
    """Raises NotReached, NotTrusted, Unreachable (transient)."""
    parts = urlsplit(device.url)
    # "*" is the host that was connected to (API reference, HttpNfcLeaseDeviceUrl.url): an ESXi host.
    itself = parts.hostname == "*"
    host = client.vcenter.server if itself else str(parts.hostname)
    port = parts.port or (client.vcenter.port if itself else 443)
    context = None if device.thumbprint else client.trust().context
    connection = LongConnection(host, port, CONNECT_TIMEOUT, context, device.thumbprint)
    try:
        connection.connect()
    except WrongCertificate as error:
        raise NotTrusted(
            f"the host {host}:{port} that the lease names shows a certificate with the SHA-1 thumbprint "
            f"{error.found}, the lease says {device.thumbprint}: something stands between this machine and "
            "that host, or its certificate was renewed and vCenter has not seen it yet (reconnect the host)"
        ) from error
    except (TimeoutError, ConnectionRefusedError, socket.gaierror) as error:
        raise NotReached(
            f"the ESXi host {host}:{port}, which takes and gives disks under a lease, cannot be reached "
            f"({_said(error)}): open that port to this machine, and see that its name can be resolved here"
        ) from error
    except OSError as error:
        raise Unreachable(f"connecting to the ESXi host {host}:{port} failed: {_said(error)}") from error
    connection.sock.settimeout(SILENCE)
    return connection


class Upload:
    """One disk's stream, of `size` bytes, into a device. `sent` is told of each piece that went."""

    def __init__(
        self, connection: LongConnection, device: Device, size: int, sent: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._told = sent
        self.device = device
        self.size = self.left = size
        # Chunked is not known to work: no client whose source is public sends it.
        connection.putrequest("POST", target(device), skip_accept_encoding=True)
        connection.putheader("Content-Type", STREAM)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()

    def send(self, piece: bytes) -> None:
        """Raises UploadRefused where the host has answered already, OSError."""
        self.left -= len(piece)
        if self.left < 0:
            raise ValueError("the stream is longer than was announced")
        try:
            self._connection.send(piece)
        except OSError:
            # A host that refuses answers, and closes while we still send: why is worth more than that.
            with suppress(HTTPException, OSError):
                self._connection.sock.settimeout(CONNECT_TIMEOUT)
                self._take(self._connection.getresponse())
            raise
        self._told(len(piece))

    def finish(self) -> None:
        """Raises UploadRefused, OSError, HTTPException."""
        if self.left:
            raise ValueError(f"the stream is {self.left} bytes shorter than was announced")
        self._take(self._connection.getresponse())

    def _take(self, answer: HTTPResponse) -> None:
        if answer.status not in (200, 201):
            raise UploadRefused(self._connection.host, answer.status, _text(answer))


def download(connection: LongConnection, device: Device) -> Callable[[int], bytes]:
    """``read(n)`` of a device's stream. Raises Unreachable where the host does not give it."""
    connection.request("GET", target(device))
    answer = connection.getresponse()
    if answer.status != 200:
        raise Unreachable(
            f"the ESXi host {connection.host} does not give a disk: it answered with status {answer.status} "
            f"({_text(answer)})"
        )
    return answer.read


def target(device: Device) -> str:
    parts = urlsplit(device.url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _text(answer: HTTPResponse) -> str:
    """In one line."""
    said = answer.read(_LARGEST_REFUSAL).decode(errors="replace")
    words = re.sub(r"<[^>]*>", " ", said).split()
    return " ".join(words) or answer.reason


def _said(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
