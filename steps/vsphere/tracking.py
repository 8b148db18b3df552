"""Changed block tracking as a job sets it, ensured when the snapshot is taken whose stun puts it into
effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.events.check_results import Observation, good, noted
from runner.step.context import Context
from steps.vsphere import cbt, snapshots
from steps.vsphere.client import Client
from steps.vsphere.errors import TrackingOff
from steps.vsphere.inventory import VM

CbtSetting = Literal["enable", "reset", "require", "off"]
"""`enable` switches it on where it is off, `reset` also off and on again where a disk is left out
(`tracking_reset`), `require` fails where it is off, `off` leaves it as it is."""

REMEDY = "`cbt: enable` in vars switches it on"
RESET = "`cbt: reset` in vars switches it off and on again, once"


@dataclass(frozen=True)
class Seen:
    """`begins`: it was switched on just now. `remedy`: what to say of a disk that is not tracked, where the
    usual advice is followed already."""

    begins: bool = False
    remedy: str = ""


def ensure_cbt(ctx: Context, client: Client, vm: VM, setting: CbtSetting) -> Seen:
    """Before the snapshot is taken. Raises TrackingOff, PermissionMissing, Busy."""
    if setting == "off" or cbt.is_on(client, vm.moref):
        return Seen()
    if why := _why_it_stays_off(client, vm, setting):
        ctx.warn(f"changed block tracking of {vm.name} stays off: {why}")
        return Seen(remedy=why)
    ctx.warn(f"changed block tracking of {vm.name} is switched on; it counts from this run's snapshot on")
    cbt.enable(client, vm.moref)
    return Seen(begins=True)


def look_ahead(client: Client, vm: VM, setting: CbtSetting) -> Seen:
    """What will have come of `ensure_cbt`, and of a reset."""
    if setting in ("off", "require"):
        return Seen()
    if cbt.is_on(client, vm.moref):
        return Seen(remedy="this run resets it, unless that was done already" if setting == "reset" else "")
    why = _why_it_stays_off(client, vm, setting)
    return Seen(begins=why is None, remedy=why or "this run switches it on")


def examine(client: Client, vm: VM, setting: CbtSetting) -> Observation:
    subject, looked_at = f"VM {vm.name}", "changed block tracking"
    if cbt.is_on(client, vm.moref):
        return good(subject, looked_at, "it is on")
    if setting == "off":
        remedy = f"{REMEDY}; without it every backup is a full, or reads all with `incremental: digests`"
        return noted(subject, looked_at, "changed block tracking is off", remedy)
    return good(subject, looked_at, f"it is off, and the job says `cbt: {setting}`")


def foresee(client: Client, vm: VM, setting: CbtSetting) -> list[str]:
    """What `ensure_cbt` would do, in words. Raises TrackingOff."""
    if setting == "off" or cbt.is_on(client, vm.moref):
        return []
    if why := _why_it_stays_off(client, vm, setting):
        return [f"changed block tracking stays off: {why}"]
    return [
        "changed block tracking is off: it is switched on, and the stun of the snapshot puts it into effect"
    ]


def _why_it_stays_off(client: Client, vm: VM, setting: CbtSetting) -> str | None:
    """Why `enable` does not switch it on; None if it does. Raises TrackingOff with `require`."""
    if setting == "require":
        raise TrackingOff(
            f"cbt: require, but changed block tracking of {vm.name} is off: write `cbt: enable`, or switch "
            "it on in vSphere"
        )
    if not cbt.is_supported(client, vm.moref):
        return f"its virtual hardware ({vm.hardware_version}) cannot track"
    if there := snapshots.listed(client, vm.moref):
        # Tracking that begins beside a snapshot may leave writes out, and says nothing of it (Broadcom KB
        # 320557; Veritas 100033481).
        return f"it has snapshots ({there[0].name}); remove them first"
    return None
