"""Custom attributes of VMs, by name: a vCenter numbers them as it likes, and an ESXi host has none."""

from __future__ import annotations

from collections.abc import Mapping

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.properties import read
from steps.vsphere.session import Session


def of_vm(client: Client, vm: str) -> dict[str, str]:
    """Those that have a value. Raises Gone, PermissionMissing."""
    doing = f"reading the custom attributes of VM {vm}"
    values = read(client, vmomi.vim.VirtualMachine, vm, ("customValue",), doing).get("customValue") or ()
    names = {key: name for name, key in fields(client) or ()} if values else {}
    return {names[int(one.key)]: str(one.value) for one in values if int(one.key) in names and one.value}


def fields(client: Client) -> tuple[tuple[str, int], ...] | None:
    """Name and key of those that VMs may have; names that differ in case alone are different ones. None of an
    ESXi host by itself, which has none."""
    doing = "reading the names of custom attributes"

    def work(session: Session) -> str:
        service = session.content.customFieldsManager
        return "" if service is None else str(service._moId)

    if not (moref := client.ask(("custom fields",), doing, work)):
        return None
    vim = vmomi.vim
    kinds = (None, vim.VirtualMachine, vim.ManagedEntity)
    found = read(client, vim.CustomFieldsManager, moref, ("field",), doing).get("field", ())
    return tuple((str(one.name), int(one.key)) for one in found if one.managedObjectType in kinds)


def set_on(client: Client, vm: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """Sets those that there are; the names of the others. Raises PermissionMissing."""
    keys = dict(fields(client) or ()) if values else {}
    for name, value in values.items():
        if name in keys:
            _set(client, vm, name, keys[name], value)
    return tuple(name for name in values if name not in keys)


def _set(client: Client, vm: str, name: str, key: int, value: str) -> None:
    def work(session: Session) -> None:
        session.service("customFieldsManager").SetField(
            entity=session.object(vmomi.vim.VirtualMachine, vm), key=key, value=value
        )

    client.act(f"setting the custom attribute {name} of VM {vm}", work)
