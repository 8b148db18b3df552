"""A VM that is made by an import lease. Until the lease is complete, it goes with the lease; whether it is,
nothing in vSphere tells, so the VM's mark does."""

from __future__ import annotations

from collections.abc import Callable

from runner.base.units import MINUTE
from runner.base.waiting import until
from runner.step.context import Context, Log
from steps.new_vm import unfinished
from steps.values.created_vm import CreatedVm
from steps.vsphere import lease, machine, marks
from steps.vsphere.client import Client
from steps.vsphere.errors import Busy, PermissionMissing, VSphereError
from steps.vsphere.marks import Marked

LEASE_ENDS = 10 * MINUTE
"""A lease whose holder is gone ends after five minutes (leaseTimeout), and vSphere then removes what it
made."""

LOOK = 2.0
"""Seconds between two looks whether it has."""


def leases(ctx: Context) -> Log:
    """The morefs of the import leases that the run began, a line each."""
    return ctx.log("import-leases")


def whole(client: Client, run: str) -> Marked | None:
    """The VM that `run` has imported and not finished. Raises NotOursError."""
    found = unfinished.own(client, run)
    return found if found is not None and found.mark is not None and found.mark.uploaded else None


def declare_whole(client: Client, moref: str, run: str) -> Marked:
    """Once its lease is complete. Raises VSphereError where it is gone."""
    found = unfinished.as_it_is(client, moref, run)
    if found is None or found.mark is None:
        raise VSphereError(
            f"the imported VM {moref} is gone or has lost its mark: look at the tasks of {client.server}, "
            "then run the same command again"
        )
    value = found.mark.model_copy(update={"uploaded": True}).model_dump_json()
    marks.put(client, moref, marks.RESTORE, value)
    return Marked(found.moref, found.name, value)


def clear(ctx: Context, client: Client) -> None:
    """What an import that was cut short has left of a VM goes: with its lease, which is aborted where that is
    possible and waited for otherwise, or by hand where no lease holds it. Raises NotOursError, VSphereError
    where it stays."""
    if unfinished.own(client, ctx.run.id) is None:
        return
    _abort(ctx, client)

    def remove() -> bool:
        found = unfinished.own(client, ctx.run.id)
        if found is not None:
            unfinished.destroy(client, found)
        return True

    _once_free(ctx, client, remove)


def remove(ctx: Context, client: Client, vm: CreatedVm) -> None:
    """As `unfinished.remove`, of a VM that a lease may still hold."""
    _abort(ctx, client)

    def gone() -> bool:
        unfinished.remove(client, vm, ctx.run.id)
        return True

    _once_free(ctx, client, gone)


def _abort(ctx: Context, client: Client) -> None:
    for moref in (leases(ctx).read() or b"").decode().split():
        lease.abort(client, moref)


def _once_free(ctx: Context, client: Client, act: Callable[[], bool]) -> None:
    """As soon as no lease holds the VM: what vSphere then says is not known but for "busy"."""
    said: list[VSphereError] = []

    def tried() -> bool:
        try:
            return act()
        except PermissionMissing:
            raise
        except VSphereError as error:
            if not said:
                ctx.warn(f"waiting for an import that was cut short to end in vCenter: {error}")
            said[:] = [error]
            if not isinstance(error, Busy) and _runs(client, ctx.run.id):
                raise
            return False

    until(tried, stop=ctx.stop, timeout=LEASE_ENDS, late=lambda: said[0], pause=LOOK)


def _runs(client: Client, run: str) -> bool:
    found = unfinished.own(client, run)
    return found is not None and machine.powered_on(client, found.moref)
