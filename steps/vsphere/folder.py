"""Files of a datastore over HTTPS: ``https://server/folder/PATH?dcPath=DATACENTER&dsName=DATASTORE``
(vSphere Web Services SDK Programming Guide, "Datastore Access (/folder)"). The session's cookie opens it.
"""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

from runner.base.units import MiB
from steps.vsphere.errors import Gone, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.names import DatastoreFile
from steps.vsphere.section import VCenter
from steps.vsphere.tls import Trust
from steps.vsphere.transport import SILENCE, Connection, ask, get

PRIVILEGES = "Datastore.Browse and Datastore.FileManagement"
"""On the datacenter and the datastore (SDK Programming Guide, "Privilege Requirements for HTTP Access")."""

LARGEST = 64 * MiB
"""Bytes of a file that is read at once; an NVRAM file has some hundred KiB."""


def url(vcenter: VCenter, datacenter: str, file: DatastoreFile) -> str:
    """`datacenter` is an inventory path. Names are escaped once; virt-v2v's twice works too, but is not what
    the guide says."""
    return f"https://{vcenter.authority}{_target(datacenter, file)}"


def flat_file(descriptor: DatastoreFile) -> DatastoreFile:
    """``x-flat.vmdk`` of ``x.vmdk``: the bytes of a disk whose backing is a flat base file. Raises
    VSphereError."""
    if not descriptor.path.endswith(".vmdk"):
        raise VSphereError(f"vSphere gives {descriptor} for a disk, which is no .vmdk file")
    return DatastoreFile(descriptor.datastore, f"{descriptor.path.removesuffix('.vmdk')}-flat.vmdk")


def fetch(vcenter: VCenter, trust: Trust, cookie: str, datacenter: str, file: DatastoreFile) -> bytes:
    """A small file whole; `datacenter` is an inventory path.

    Raises Gone if there is no such file, PermissionMissing (also for a session that has ended), UnfitAnswer
    if it is over `LARGEST`, connection failures."""
    return _ask("GET", vcenter, trust, cookie, datacenter, file)


def look(vcenter: VCenter, trust: Trust, cookie: str, datacenter: str, file: DatastoreFile) -> None:
    """Whether `fetch` would be answered, without the content: raises as it does."""
    _ask("HEAD", vcenter, trust, cookie, datacenter, file)


def store(
    vcenter: VCenter, trust: Trust, cookie: str, datacenter: str, file: DatastoreFile, content: bytes
) -> None:
    """Writes a small file whole; one of that name is replaced. Raises as `fetch`: Gone where its directory is
    not there."""
    headers = {"Cookie": cookie, "Content-Type": "application/octet-stream"}
    connection = Connection(vcenter.server, vcenter.port, timeout=SILENCE, context=trust.context)
    with closing(connection):
        target = _target(datacenter, file)
        answer = ask(connection, "PUT", target, limit=LARGEST, headers=headers, body=content)
    # A missing place was answered with 405 (pyvmomi-community-samples issue 732).
    _raise_for(404 if answer.status == 405 else answer.status, vcenter, file, "writing")


def _ask(
    method: str, vcenter: VCenter, trust: Trust, cookie: str, datacenter: str, file: DatastoreFile
) -> bytes:
    answer = get(
        vcenter.server,
        vcenter.port,
        trust.context,
        _target(datacenter, file),
        method=method,
        headers={"Cookie": cookie},
        limit=LARGEST,
        timeout=SILENCE,
    )
    _raise_for(answer.status, vcenter, file, "reading")
    return answer.content


def _raise_for(status: int, vcenter: VCenter, file: DatastoreFile, doing: str) -> None:
    if status in (200, 201, 204):
        return
    if status == 404:
        raise Gone(f"{doing} {file} failed: there is no such file{' or directory' * (doing == 'writing')}")
    if status in (401, 403):
        raise PermissionMissing(
            f"{doing} {file} failed with status {status}: the account lacks {PRIVILEGES}: add them to its "
            "role there",
            PRIVILEGES,
            str(file),
        )
    kind = Unreachable if status >= 500 else VSphereError
    raise kind(f"{doing} {file} failed: {vcenter.authority} answered with status {status}")


def _target(datacenter: str, file: DatastoreFile) -> str:
    names = f"dcPath={quote(datacenter, safe='')}&dsName={quote(file.datastore, safe='')}"
    return f"/folder/{quote(file.path)}?{names}"
