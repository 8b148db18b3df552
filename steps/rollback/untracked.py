"""The note in a VM that changed block tracking is not to be asked across a rollback (see
`steps.vsphere.rolled_back`)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runner.step.context import Context
from steps.repository import vm_lock
from steps.values.created_vm import MarkedVm
from steps.values.rollback import PlannedRollback
from steps.vsphere import rolled_back
from steps.vsphere.client import Client, vcenter
from steps.vsphere.reconfigure import reconfigure
from steps.vsphere.specs import options


def setting(client: Client, vm: MarkedVm, keys: Iterable[int], run: str) -> dict[str, str]:
    """The advanced setting, as it is once `run` put back the disks with these keys too; none for no disk."""
    uuids = [vm.disk(key).backing_uuid for key in keys]
    return {rolled_back.KEY: rolled_back.read(client, vm.moref).by(run, uuids)} if uuids else {}


@contextmanager
def held(ctx: Context, planned: PlannedRollback) -> Iterator[None]:
    """The VM's lock in the repository, for the block. Raises LockedError where a run has it."""
    stored = planned.disks[0].stored
    directory = posixpath.dirname(posixpath.dirname(stored.digests))
    with ctx.scope():
        vm_lock.hold(ctx, ctx.host(stored.image.host), directory, f"VM {planned.vm.name}")
        yield


def note(ctx: Context, planned: PlannedRollback) -> None:
    """Before the restore point of the present state is made: what is written over is kept by reading all of
    it, not by what tracking names. Raises LockedError, PermissionMissing, Busy."""
    vm, client = planned.machine, vcenter(ctx, planned.machine.vcenter)
    with held(ctx, planned):
        settings = setting(client, vm, (disk.key for disk in planned.disks), ctx.run.id)
        reconfigure(client, vm.moref, f"noting a rollback in VM {vm.name}", extraConfig=options(settings))
