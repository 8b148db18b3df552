"""What a vCenter knows of a VM beside its configuration, and a restore puts back: custom attributes, tags,
what its networks are called, its resource pool."""

from __future__ import annotations

from typing import Any

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import Model
from steps.vsphere import attributes, tags, vmomi
from steps.vsphere.client import Client
from steps.vsphere.names import unescape
from steps.vsphere.properties import read, read_many
from steps.vsphere.session import Session


class VmInventory(Model):
    """As it is saved with a restore point."""

    attributes: dict[str, str] = {}
    """Custom attributes that have a value, by name."""
    tags: tuple[str, ...] = ()
    """``category/tag``"""
    networks: dict[str, str] = {}
    """Names of its distributed port groups by key: its configuration has the keys alone."""
    pool: str = ""
    """moref of its resource pool."""
    unread: str = ""
    """Why the tags are not known; empty if they are."""


def of_vm(client: Client, vm: str) -> VmInventory:
    """Raises Gone, PermissionMissing, Unreachable."""
    doing = f"reading what vCenter knows of VM {vm}"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("customValue", "network", "resourcePool"), doing)
    pool = seen.get("resourcePool")
    found, unread = _tags(client, vm)
    return VmInventory(
        attributes=attributes.of_vm(client, vm) if seen.get("customValue") else {},
        tags=found,
        networks=_port_groups(client, seen.get("network") or (), doing),
        pool="" if pool is None else str(pool._moId),
        unread=unread,
    )


def _port_groups(client: Client, networks: Any, doing: str) -> dict[str, str]:
    kind = vmomi.vim.dvs.DistributedVirtualPortgroup
    morefs = [str(one._moId) for one in networks if isinstance(one, kind)]
    found = read_many(client, kind, morefs, ("key", "name"), doing).values() if morefs else ()
    return {str(one["key"]): unescape(str(one["name"])) for one in found if one.keys() >= {"key", "name"}}


def _tags(client: Client, vm: str) -> tuple[tuple[str, ...], str]:
    """And why they are not known. A backup is none the worse for it."""
    try:
        if _is_esxi(client):
            return (), ""
        return tags.of_vm(client, vm), ""
    except Interrupted:
        raise
    except SendenseError as error:
        return (), error.message


def _is_esxi(client: Client) -> bool:
    """By itself, where there are no tags."""

    def work(session: Session) -> bool:
        return bool(session.service("about").apiType == "HostAgent")

    return client.call("looking what answers", work)
