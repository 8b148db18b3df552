"""Whether a VM may be written to past its guest: it is off, has no snapshots, and nobody else works on it."""

from __future__ import annotations

from collections.abc import Collection

from runner.base.errors import LockedError, SendenseError
from steps.vsphere import machine, marks, snapshots, vmomi
from steps.vsphere.attached import NotReady
from steps.vsphere.client import Client
from steps.vsphere.owner import PREFIX, read_owner
from steps.vsphere.properties import read

_AGAIN = "then run the same command again"
_UNDER_WAY = {marks.RESTORE: "half restored", marks.ROLLBACK: "half rolled back"}


class MarkGoneError(SendenseError):
    fix_first = True

    def __init__(self, vm: str) -> None:
        super().__init__(
            f"{vm} no longer has this run's mark ({marks.ROLLBACK} in its advanced settings): its disks are "
            "left as they are, which may be half rolled back; find out who removed the mark, then run "
            "the same `sendense rollback` again, which finishes it"
        )


def require(client: Client, moref: str, runs: Collection[str], source: str) -> None:
    """`runs`: those whose mark the VM may have; `source`: the restore point that it is to be put back to.
    Raises NotReady, or LockedError where another run of this program is at work; each says what to do."""
    name, why = machine.state_of(client, moref)
    begin = f"{name} cannot be rolled back to {source}"
    _refuse_other_marks(client, moref, name, runs)
    _refuse_power(client, moref, begin)
    _refuse_snapshots(client, moref, name, begin)
    if why:
        raise NotReady(f"{begin}: {why}")


def own_mark(client: Client, moref: str, run: str) -> str | None:
    """The value of the VM's mark if it is of `run`. Raises Gone, PermissionMissing."""
    value = marks.of(client, moref, marks.ROLLBACK)
    mark = None if value is None else marks.read_mark(value)
    return value if mark is not None and mark.run == run else None


def _refuse_other_marks(client: Client, moref: str, name: str, runs: Collection[str]) -> None:
    for key, what in _UNDER_WAY.items():
        value = marks.of(client, moref, key)
        mark = None if value is None else marks.read_mark(value)
        if value is None or (mark is not None and mark.run in runs and key == marks.ROLLBACK):
            continue
        if mark is None:
            raise NotReady(
                f"{name} has the advanced setting {key}, which no run of this version wrote: find out who "
                "did, and remove it in vSphere if nobody works on the VM"
            )
        told = (
            f"{mark.told}; it is {what}: resume that run, or discard it with `sendense sweep JOB --abandon "
            f"{mark.run}`"
        )
        raise LockedError(f"VM {name}", told)


def _refuse_power(client: Client, moref: str, begin: str) -> None:
    doing = f"looking whether VM {moref} runs"
    state = read(client, vmomi.vim.VirtualMachine, moref, ("runtime.powerState",), doing).get(
        "runtime.powerState"
    )
    power = vmomi.vim.VirtualMachine.PowerState
    if state == power.poweredOff:
        return
    if state == power.suspended:
        raise NotReady(
            f"{begin}: it is suspended, and its memory would not fit its disks; power it off, {_AGAIN}"
        )
    raise NotReady(f"{begin}: it is powered on; power it off, {_AGAIN}")


def _refuse_snapshots(client: Client, moref: str, name: str, begin: str) -> None:
    for found in snapshots.listed(client, moref):
        if not found.name.startswith(PREFIX):
            raise NotReady(
                f"{begin}: it has snapshots ({found.name}), and what is written below one damages it; remove "
                f"them in vSphere, {_AGAIN}"
            )
        owner = read_owner(found.description)
        whose = found.name if owner is None else f"run {owner.run} of {owner.job} on {owner.holder}"
        raise LockedError(
            f"VM {name}",
            f"{whose}, whose snapshot is on it; wait for that run or resume it, or discard it with `sendense "
            "sweep JOB --abandon RUN`",
        )
