"""A VM's settings are changed: one reconfiguration, to its end. It is all or nothing (API reference,
ReconfigVM_Task)."""

from __future__ import annotations

from typing import Any

from runner.base.units import MINUTE
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.session import Session
from steps.vsphere.tasks import finish

DEADLINE = 10 * MINUTE
"""It waits behind other work of the host."""


def reconfigure(client: Client, vm: str, doing: str, **wanted: Any) -> None:
    """`wanted`: properties of ConfigSpec; what is not among them stays as it is. Raises PermissionMissing,
    Busy, Gone, VSphereError."""

    def work(session: Session) -> str:
        spec: Any = vmomi.vim.vm.ConfigSpec
        return str(session.object(vmomi.vim.VirtualMachine, vm).ReconfigVM_Task(spec=spec(**wanted))._moId)

    finish(client, client.act(doing, work), doing, DEADLINE)
