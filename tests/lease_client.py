"""A client of import and export leases, small and independent of ours: pyVmomi for the lease, http.client for its urls."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyVmomi import vim

from tests.eventually import eventually
from tests.simulation import Client

STREAM = "application/x-vnd.vmware-streamVmdk"
EMPTY = struct.pack(
    "<4sIIQQQQIQQQB4sH433x", b"KDMV", 3, 0x30001, 128, 128, 0, 0, 512, 0, 0xFFFFFFFFFFFFFFFF, 1, 0, b"\n \r\n", 1
).ljust(1024, b"\0")
"""A disk of 64 KiB of zeroes: header and end marker."""
STATE = vim.HttpNfcLease.State


def import_vapp(client: Client, config: Any, *, folder: str | None = "DC1/vm", pool: str = "cluster1/Resources") -> Any:
    """The lease, in whatever state."""
    datacenter = client.content.rootFolder.childEntity[0].name
    into = client.vm(folder.replace("DC1", datacenter, 1)) if folder else None
    spec = config if isinstance(config, vim.ImportSpec) else vim.vm.VmImportSpec(configSpec=config)
    return client.vm(f"{datacenter}/host/{pool}").ImportVApp(spec, into, None)


def ready(lease: Any) -> Any:
    """Its info, once it is ready; its error is raised."""
    assert eventually(lambda: lease.state != STATE.initializing)
    if lease.state == STATE.error:
        raise lease.error
    assert lease.state == STATE.ready
    return lease.info


def url_of(information: Any, place: str) -> Any:
    """The device url whose import key ends so."""
    return next(one for one in information.deviceUrl if one.importKey.endswith(f"/{place}"))


def send(
    client: Client, url: Any, method: str, body: Any = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    with connected(client, url) as connection:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, urlsplit(url.url).path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers


@contextmanager
def connected(client: Client, url: Any) -> Iterator[http.client.HTTPSConnection]:
    """To where a device url leads, whose certificate must be the one that its thumbprint names."""
    parts = urlsplit(url.url)
    host, port = ("127.0.0.1", client.sim.port) if parts.hostname == "*" else (str(parts.hostname), parts.port)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=20)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        assert hashlib.sha1(shown).digest().hex(":").upper() == url.sslThumbprint
        yield connection
    finally:
        connection.close()


def post(client: Client, url: Any, stream: bytes) -> tuple[int, str]:
    status, text, _ = send(client, url, "POST", stream, Content_Type=STREAM)
    return status, text.decode()


def streamed(raw: Path) -> bytes:
    """The disk as a streamOptimized VMDK, by qemu-img."""
    made = raw.with_suffix(".stream.vmdk")
    options = ("-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized")
    subprocess.run(["qemu-img", "convert", *options, raw, made], check=True)
    return made.read_bytes()


def through_end_marker(stream: bytes) -> bytes:
    """Without the zeroes that qemu-img leaves behind the end marker, as an ESXi host sums it."""
    return stream.rstrip(b"\0").ljust(len(stream), b"\0")[: -(-len(stream.rstrip(b"\0")) // 512) * 512 + 512]
