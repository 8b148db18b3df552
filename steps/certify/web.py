"""Requests to the vCenter over HTTPS as they are, with the answers' headers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from runner.base.units import MiB
from steps.vsphere import folder
from steps.vsphere.client import Client
from steps.vsphere.faults import explained
from steps.vsphere.names import DatastoreFile, datastore_file
from steps.vsphere.transport import SILENCE, Connection, read

LARGEST = 64 * MiB


@dataclass(frozen=True)
class Answer:
    """`headers` by name in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def request(
    client: Client,
    target: str,
    *,
    method: str = "GET",
    cookie: bool = True,
    headers: Mapping[str, str] = {},
    body: str = "",
) -> Answer:
    """With the session's cookie unless told else. Raises Unreachable, NotTrusted."""
    sent = {**headers, **({"Cookie": client.cookie()} if cookie else {})}
    server = client.vcenter
    with explained(client.server, "asking it over HTTPS"):
        context = client.trust_now().context
        with closing(Connection(server.server, server.port, timeout=SILENCE, context=context)) as connection:
            connection.request(method, target, body=body.encode() or None, headers=sent)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, read(answer, LARGEST))


def target(datacenter: str, file: DatastoreFile, *, escaped: int = 1, slash: bool = False) -> str:
    """`escaped`: how often dcPath and dsName are."""
    place, store = f"{'/' if slash else ''}{datacenter}", file.datastore
    for _ in range(escaped):
        place, store = quote(place, safe=""), quote(store, safe="")
    return f"/folder/{quote(file.path)}?dcPath={place}&dsName={store}"


def flat_file(descriptor: str, datastore: str) -> DatastoreFile:
    """Of a disk's file, as its backing names it."""
    return folder.flat_file(datastore_file(descriptor, (datastore,)))
