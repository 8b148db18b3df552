"""Changed block tracking: which areas of a disk were written between an old changeId and a snapshot, and
switching it on.

A changeId is ``<uuid>/<n>``, text that is split at the slash: the uuid part is spaced hex on real servers
(Virtual Disk Development Kit, "Gathering Changed Block Information"). Another uuid means that tracking was
lost, a smaller n that the VM went back to an older moment. Faults' keys are those that VMware's own storage
driver tells apart (vsphere-csi-driver, TranslateVslmError).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.base.waiting import again
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import TrackingLost, TrackingOff, TrackingSilent, VSphereError
from steps.vsphere.faults import text_of
from steps.vsphere.properties import read
from steps.vsphere.reconfigure import reconfigure
from steps.vsphere.session import Session

REPEATS = 3
"""How often is asked again where the tracking file is locked or missing: a backup proxy or a migration that
just ended releases it."""

FIRST_PAUSE = 1.0
"""Seconds before the first of them; each one after it waits three times as long."""

_KEY = "vim.hostd.vmsvc.cbt."


def why_lost(parent: str, snapshot: str) -> str | None:
    """Why a snapshot's changeId shows that tracking does not reach back to `parent`; None if it may. Asks
    nobody."""
    (before, _, first), (now, _, last) = parent.rpartition("/"), snapshot.rpartition("/")
    if before != now:
        return "changed block tracking started over since (another uuid)"
    if first.isdecimal() and last.isdecimal() and int(last) <= int(first):
        return "changed block tracking went back, as after a revert to an older snapshot"
    return None


def areas(
    client: Client, vm: str, snapshot: str | None, key: int, capacity: int, change_id: str
) -> Iterator[tuple[int, int]]:
    """(offset, length) in bytes of all that may have changed since `change_id`, in order, without overlaps.
    Up to the `snapshot`, which has `capacity` bytes; None asks up to now, of a VM that is off.

    Raises TrackingLost, TrackingOff, TrackingSilent, Gone, and VSphereError for pages that do not fit each
    other."""
    doing = f"asking for the changed areas of disk {key}"
    at = 0
    while (
        at < capacity
    ):  # asking at the capacity itself is refused: "A specified parameter was not correct: startOffset"
        page = _page(client, doing, vm, snapshot, key, at, change_id)
        end = int(page.startOffset) + int(page.length)
        if int(page.startOffset) != at or end <= at or end > capacity:
            raise VSphereError(
                f"{doing} failed: the vCenter answered for bytes {page.startOffset} to {end} when asked "
                f"for {at} to at most {capacity}; back the disk up with `mode: full`"
            )
        yield from _within(page, doing, at, end)
        at = end


def _within(page: Any, doing: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    for area in page.changedArea or ():
        offset, length = int(area.start), int(area.length)
        if offset < at or length <= 0 or offset + length > end:
            raise VSphereError(
                f"{doing} failed: the vCenter named bytes {offset} to {offset + length} in its answer for "
                f"{start} to {end}; back the disk up with `mode: full`"
            )
        yield offset, length
        at = offset + length


def _page(
    client: Client, doing: str, vm: str, snapshot: str | None, key: int, start: int, change_id: str
) -> Any:
    def work(session: Session) -> Any:
        machine = session.object(vmomi.vim.VirtualMachine, vm)
        moment = None if snapshot is None else session.object(vmomi.vim.vm.Snapshot, snapshot)
        try:
            return machine.QueryChangedDiskAreas(
                snapshot=moment, deviceKey=key, startOffset=start, changeId=change_id
            )
        except vmomi.vim.fault.FileFault as fault:
            raise _explain(fault, doing) from fault
        except vmomi.vmodl.fault.InvalidArgument as fault:
            # changeId: it does not know that one (any longer); deviceKey: the disk cannot be tracked.
            raise TrackingLost(
                f"{doing} failed: the vCenter refuses changeId {change_id} ({text_of(fault)})"
            ) from fault

    return again(
        lambda number: client.call(doing, work),
        on=lambda error: isinstance(error, TrackingSilent),
        stop=client.stop,
        attempts=1 + REPEATS,
        first=FIRST_PAUSE,
        longest=9 * FIRST_PAUSE,
        growth=3,
    )


def _explain(fault: Any, doing: str) -> VSphereError:
    """Whatever carries no known key is a tracking file or disk that is locked or missing for the moment."""
    said = text_of(fault)
    keys = [str(message.key).removeprefix(_KEY) for message in fault.faultMessage or ()]
    if "noTrack" in keys:
        return TrackingOff(f"{doing} failed: changed block tracking is off for it ({said})")
    if "cannotGetChanges" in keys or "noEpoch" in keys:
        return TrackingLost(f"{doing} failed: changed block tracking does not reach back so far ({said})")
    return TrackingSilent(f"{doing} failed: its tracking file or the disk is locked or missing ({said})")


def is_on(client: Client, vm: str) -> bool:
    """As it is in effect; after `enable` of a VM that runs, only from its next stun on."""
    doing = f"looking whether changed block tracking of VM {vm} is on"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("config.changeTrackingEnabled",), doing)
    return bool(seen.get("config.changeTrackingEnabled"))


def is_supported(client: Client, vm: str) -> bool:
    """Virtual hardware from version 7 on (API reference, capability.changeTrackingSupported)."""
    doing = f"looking whether VM {vm} can track changed blocks"
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("capability.changeTrackingSupported",), doing)
    return bool(seen.get("capability.changeTrackingSupported"))


def is_on_for(client: Client, vm: str, place: str) -> bool:
    """Whether the VM's advanced settings say so of the disk at `place` (``scsi0:1``), as they do of each that
    is tracked (Broadcom KB 422164)."""
    doing = f"looking whether changed block tracking of {place} of VM {vm} is on"
    path = f'config.extraConfig["{place}.ctkEnabled"]'
    option = read(client, vmomi.vim.VirtualMachine, vm, (path,), doing).get(path)
    return str(getattr(option, "value", "")).upper() == "TRUE"


def enable(client: Client, vm: str) -> None:
    """Returns once vSphere took it. It is in effect at the next stun of a running VM, such as a snapshot (API
    reference, VirtualMachineConfigSpec.changeTrackingEnabled). Raises PermissionMissing, Busy."""
    _switch(client, vm, f"switching on changed block tracking of VM {vm}", on=True)


def disable(client: Client, vm: str) -> None:
    """As `enable`."""
    _switch(client, vm, f"switching off changed block tracking of VM {vm}", on=False)


def _switch(client: Client, vm: str, doing: str, *, on: bool) -> None:
    reconfigure(client, vm, doing, changeTrackingEnabled=on)
