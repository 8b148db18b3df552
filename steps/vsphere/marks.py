"""Marks in a VM's advanced settings: which run made it, or is changing it. They are there from its first
moment, and one request finds all of them.

A property path may index: ``config.extraConfig["key"]`` (Web Services SDK Programming Guide; Cinder's VMware
driver finds its volumes by it).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runner.base.model import Model
from runner.step.context import Context
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.faults import explain
from steps.vsphere.names import unescape
from steps.vsphere.properties import contents, properties_of, read, view
from steps.vsphere.reconfigure import reconfigure
from steps.vsphere.session import Session

RESTORE = "sendense.restore"
"""Of a VM that a restore makes, until it is finished."""

ROLLBACK = "sendense.rollback"
"""Of a VM whose disks are put back, from before the first write until all were compared."""

CERTIFY = "sendense.certify"
"""Of a scratch VM."""


class Mark(Model):
    """What a mark's value says, for a person who finds the VM in vSphere too."""

    run: str
    """Its id."""
    job: str
    """The job's resolved name."""
    holder: str
    """Which process of which machine put it there."""
    point: str = ""
    """The restore point: VM/POINT"""
    uploaded: bool = False
    """Of a VM that was imported: every disk has arrived, and no lease that ends takes it away any more."""

    @property
    def told(self) -> str:
        return f"run {self.run} of {self.job} on {self.holder}"


@dataclass(frozen=True)
class Marked:
    """A VM that has a mark."""

    moref: str
    name: str
    """As people write it."""
    value: str

    @property
    def mark(self) -> Mark | None:
        """None if the value is not what `stamp` writes."""
        return read_mark(self.value)


def stamp(ctx: Context, point: str) -> str:
    """One line of JSON: what a mark of this run says."""
    return Mark(
        run=ctx.run.id,
        job=ctx.run.job,
        holder=f"{platform.node()} pid {os.getpid()}",
        point=point,
    ).model_dump_json()


def read_mark(value: str) -> Mark | None:
    """None if it is not what `stamp` writes."""
    try:
        return Mark.model_validate_json(value)
    except ValidationError:
        return None


def find(client: Client, key: str) -> tuple[Marked, ...]:
    """All VMs with that mark, by moref. One whose settings the account may not read is none of ours: the
    account that makes a VM may read it. Raises VSphereError for what could not be read for another reason."""
    doing, path = f"looking for VMs with the mark {key}", path_of(key)

    def work(session: Session) -> list[Any]:
        machine = vmomi.vim.VirtualMachine
        with view(session, (machine,)) as objects:
            return list(contents(session, objects, {machine: ("name", path)}))

    found = []
    for content in client.call(doing, work):
        for missing in content.missingSet or ():
            if not isinstance(missing.fault, vmomi.vim.fault.NoPermission):
                raise explain(missing.fault, doing)
        seen = properties_of(content)
        if value := value_in(seen, path):
            moref = str(content.obj._moId)
            found.append(Marked(moref, unescape(str(seen.get("name", moref))), value))
    return tuple(sorted(found, key=lambda one: one.moref))


def of(client: Client, vm: str, key: str) -> str | None:
    """The value of one VM's mark; None if it has none. Raises Gone, PermissionMissing."""
    path = path_of(key)
    doing = f"looking whether VM {vm} has the mark {key}"
    return value_in(read(client, vmomi.vim.VirtualMachine, vm, (path,), doing), path) or None


def put(client: Client, vm: str, key: str, value: str) -> None:
    """Raises Gone, Busy, PermissionMissing."""
    _set(client, vm, f"marking VM {vm}", key, value)


def remove(client: Client, vm: str, key: str) -> None:
    """Absent is fine: an empty value deletes a key (API reference, VirtualMachineConfigSpec.extraConfig).
    Raises Gone, Busy, PermissionMissing."""
    _set(client, vm, f"removing the mark {key} of VM {vm}", key, "")


def _set(client: Client, vm: str, doing: str, key: str, value: str) -> None:
    option: Any = vmomi.vim.option.OptionValue
    reconfigure(client, vm, doing, extraConfig=[option(key=key, value=value)])


def path_of(key: str) -> str:
    return f'config.extraConfig["{key}"]'


def value_in(seen: Mapping[str, Any], path: str) -> str:
    """Of a setting, among properties that were read; empty where it is not set."""
    return str(getattr(seen.get(path), "value", "") or "")
