"""Which VM a job means: a name, an inventory path, a moref, or an instance or BIOS uuid."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from pyVmomi import vim

from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.names import unescape
from steps.vsphere.properties import read, read_all
from steps.vsphere.session import Session

_MOREF = re.compile(r"vm-\d+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

DEEPEST = 100
"""Levels between a VM and the root folder; folders nest, but not in circles."""


class NotFound(VSphereError):
    pass


class Ambiguous(VSphereError):
    """`candidates`: inventory path and moref of each."""

    def __init__(self, wanted: str, candidates: Iterable[tuple[str, str]]) -> None:
        self.candidates = tuple(candidates)
        listed = "; ".join(f"{path} ({moref})" for path, moref in self.candidates)
        super().__init__(f"'{wanted}' is the name of {len(self.candidates)} VMs: write one of these instead: {listed}")


@dataclass(frozen=True)
class Place:
    """Inventory paths without a leading slash, names escaped as vSphere does; `datacenter` is the dcPath of /folder."""

    path: str
    datacenter: str


def find(client: Client, wanted: str) -> str:
    """The moref. Raises NotFound with names that are close, Ambiguous with all that fit."""
    doing = f"looking for VM '{wanted}'"
    found = _by_uuid(client, wanted, doing) or _by_path(client, wanted, doing)
    if not found:
        names = {moref: str(seen.get("name", "")) for moref, seen in _all_names(client, doing).items()}
        # A VM may be called vm-16 while another has that moref: both are meant, so neither is taken.
        found = {moref for moref, name in names.items() if wanted in (name, unescape(name))}
        found |= _by_moref(client, wanted, doing)
        if not found:
            raise _not_found(client, wanted, names.values())
    if len(found) > 1:
        raise Ambiguous(wanted, sorted((locate(client, moref).path, moref) for moref in found))
    return found.pop()


def locate(client: Client, vm: str) -> Place:
    """Where the VM is. A VM in a vApp has no parent folder: its path leads through the vApp, as vSphere's own does."""
    doing = f"reading where {vm} is"
    root = client.call(doing, lambda session: session.content.rootFolder._moId)
    seen = read(client, vim.VirtualMachine, vm, ("name", "parent", "parentVApp"), doing)
    names = [str(seen["name"])]
    above = seen.get("parent") or seen.get("parentVApp")
    datacenter: list[str] = []
    for _ in range(DEEPEST):
        if above is None or above._moId == root:
            break
        seen = read(client, type(above), above._moId, ("name", "parent"), doing)
        names.append(str(seen["name"]))
        if isinstance(above, vim.Datacenter):
            datacenter = names[-1:]
        elif datacenter:
            datacenter.append(names[-1])
        above = seen.get("parent")
    return Place("/".join(reversed(names)), "/".join(reversed(datacenter)))


def _by_uuid(client: Client, wanted: str, doing: str) -> set[str]:
    """Instance uuids are unique; BIOS uuids are shared by copies, so several may be found."""
    if not _UUID.fullmatch(wanted):
        return set()

    def search(session: Session, *, instance: bool) -> set[str]:
        found = session.content.searchIndex.FindAllByUuid(None, wanted, True, instance)
        return {vm._moId for vm in found or ()}

    return client.call(doing, partial(search, instance=True)) or client.call(doing, partial(search, instance=False))


def _by_path(client: Client, wanted: str, doing: str) -> set[str]:
    if "/" not in wanted:
        return set()
    path = wanted.strip("/")
    found = client.call(doing, lambda session: session.content.searchIndex.FindByInventoryPath(path))
    return {found._moId} if isinstance(found, vim.VirtualMachine) else set()


def _by_moref(client: Client, wanted: str, doing: str) -> set[str]:
    if not _MOREF.fullmatch(wanted):
        return set()
    try:
        read(client, vim.VirtualMachine, wanted, ("name",), doing)
    except Gone:
        return set()
    return {wanted}


def _all_names(client: Client, doing: str) -> dict[str, dict[str, object]]:
    return read_all(client, vim.VirtualMachine, ("name",), doing)


def _not_found(client: Client, wanted: str, names: Iterable[str]) -> NotFound:
    plain = sorted({unescape(name) for name in names if name})
    close = difflib.get_close_matches(wanted, plain, n=5)
    hint = f"did you mean {', '.join(close)}?" if close else f"the account sees {len(plain)} other VMs there"
    return NotFound(f"there is no VM '{wanted}' in vCenter {client.name} ({client.vcenter.server}): {hint}")
