"""Which VM a job means: a name, an inventory path, a moref, or an instance or BIOS uuid."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.names import unescape
from steps.vsphere.properties import read, read_all, read_many
from steps.vsphere.session import Session
from steps.vsphere.unset import given

_MOREF = re.compile(r"(vm-)?\d+", re.ASCII)
"""A bare number on an ESXi host."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

DEEPEST = 100
"""Levels between a VM and the root folder; folders nest, but not in circles."""


class NotFound(VSphereError):
    fix_first = True


@dataclass(frozen=True)
class Candidate:
    """A VM that may be meant."""

    path: str
    """Its inventory path."""
    moref: str
    instance_uuid: str

    def __str__(self) -> str:
        return f"{self.path} ({self.moref}, instance uuid {self.instance_uuid or 'unset'})"


class Ambiguous(VSphereError):
    fix_first = True

    def __init__(self, wanted: str, candidates: Iterable[Candidate]) -> None:
        self.candidates = tuple(candidates)
        listed = "; ".join(map(str, self.candidates))
        super().__init__(
            f"'{wanted}' matches {len(self.candidates)} VMs: write the path, the moref or the instance "
            f"uuid of one instead: {listed}"
        )


@dataclass(frozen=True)
class Place:
    """Inventory paths without a leading slash, names escaped as vSphere does; `datacenter` is the dcPath of
    /folder."""

    path: str
    datacenter: str


def find(client: Client, wanted: str) -> str:
    """The moref. Raises NotFound with names that are close, Ambiguous with all that fit."""
    found = matching(client, wanted)
    if not found:
        raise not_found(client, wanted)
    return only(wanted, found)


def matching(client: Client, wanted: str) -> tuple[Candidate, ...]:
    """All VMs that `wanted` fits, by path."""
    return client.recall(("VMs called", wanted), lambda: _matching(client, wanted))


def _matching(client: Client, wanted: str) -> tuple[Candidate, ...]:
    doing = f"looking for VM '{wanted}'"
    found = _by_uuid(client, wanted, doing) or _by_path(client, wanted, doing)
    if not found:
        # A VM may be called vm-16 while another has that moref: both are meant, so neither is taken.
        found = {
            moref for moref, name in _all_names(client, doing).items() if wanted in (name, unescape(name))
        }
        found |= _by_moref(client, wanted, doing)
    return candidates(client, found)


def by_uuid(client: Client, uuid: str, *, instance: bool) -> tuple[Candidate, ...]:
    """With that instance or BIOS uuid."""
    found = (
        _search(client, uuid, f"looking for the VM with uuid {uuid}", instance=instance) if uuid else set()
    )
    return candidates(client, found)


def only(wanted: str, found: Sequence[Candidate]) -> str:
    """The moref of the one that was found. Raises Ambiguous."""
    if len(found) > 1:
        raise Ambiguous(wanted, found)
    return found[0].moref


def candidates(client: Client, morefs: Iterable[str]) -> tuple[Candidate, ...]:
    doing = "reading what tells VMs from each other"
    seen = read_many(client, vmomi.vim.VirtualMachine, sorted(morefs), ("config.instanceUuid",), doing)
    found = (
        Candidate(locate(client, moref).path, moref, str(seen[moref].get("config.instanceUuid", "")))
        for moref in seen
    )
    return tuple(sorted(found, key=lambda one: (one.path, one.moref)))


def not_found(client: Client, wanted: str) -> NotFound:
    """With names that are close."""
    plain = sorted(
        {unescape(name) for name in _all_names(client, f"looking for VM '{wanted}'").values() if name}
    )
    close = difflib.get_close_matches(wanted, plain, n=5)
    hint = f"did you mean {', '.join(close)}?" if close else f"the account sees {len(plain)} other VMs there"
    return NotFound(
        f"there is no VM '{wanted}' in vCenter {client.name} ({client.vcenter.server}): {hint}; correct the "
        "job's `vm`"
    )


def locate(client: Client, vm: str) -> Place:
    """Where the VM is. A VM in a vApp has no parent folder: its path leads through the vApp, as vSphere's own
    does."""
    return client.recall(("place of", vm), lambda: _locate(client, vm))


def _locate(client: Client, vm: str) -> Place:
    doing = f"reading where {vm} is"
    top = root(client)
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("name", "parent", "parentVApp"), doing)
    names = [str(given(seen, "name", f"VM {vm}"))]
    above = seen.get("parent") or seen.get("parentVApp")
    datacenter: list[str] = []
    for _ in range(DEEPEST):
        if above is None or above._moId == top:
            break
        seen = read(client, type(above), above._moId, ("name", "parent"), doing)
        names.append(str(given(seen, "name", f"{above._moId}, which has VM {vm}")))
        if isinstance(above, vmomi.vim.Datacenter):
            datacenter = names[-1:]
        elif datacenter:
            datacenter.append(names[-1])
        above = seen.get("parent")
    return Place("/".join(reversed(names)), "/".join(reversed(datacenter)))


def root(client: Client) -> str:
    """The moref of the folder that everything is in."""
    return client.call(
        "looking for the root folder", lambda session: str(session.service("rootFolder")._moId)
    )


def datacenter(client: Client, path: str) -> str:
    """The moref of the datacenter at that inventory path; empty if the account sees none there."""
    doing = f"looking for datacenter {unescape(path)}"

    def look(session: Session) -> str:
        found = session.service("searchIndex").FindByInventoryPath(path)
        return str(found._moId) if isinstance(found, vmomi.vim.Datacenter) else ""

    return client.ask(("datacenter at", path), doing, look)


def _by_uuid(client: Client, wanted: str, doing: str) -> set[str]:
    """Instance uuids are unique; BIOS uuids are shared by copies, so several may be found."""
    if not _UUID.fullmatch(wanted):
        return set()
    return _search(client, wanted, doing, instance=True) or _search(client, wanted, doing, instance=False)


def _search(client: Client, uuid: str, doing: str, *, instance: bool) -> set[str]:
    def search(session: Session) -> set[str]:
        found = session.service("searchIndex").FindAllByUuid(None, uuid, True, instance)
        return {vm._moId for vm in found or ()}

    return client.call(doing, search)


def _by_path(client: Client, wanted: str, doing: str) -> set[str]:
    if "/" not in wanted:
        return set()
    path = wanted.strip("/")
    found = client.call(doing, lambda session: session.service("searchIndex").FindByInventoryPath(path))
    return {found._moId} if isinstance(found, vmomi.vim.VirtualMachine) else set()


def _by_moref(client: Client, wanted: str, doing: str) -> set[str]:
    if not _MOREF.fullmatch(wanted):
        return set()
    try:
        read(client, vmomi.vim.VirtualMachine, wanted, ("name",), doing)
    except Gone:
        return set()
    return {wanted}


def _all_names(client: Client, doing: str) -> dict[str, str]:
    """By moref."""
    return {
        moref: str(seen.get("name", ""))
        for moref, seen in read_all(client, vmomi.vim.VirtualMachine, ("name",), doing).items()
    }
