"""QueryChangedDiskAreas: the blocks written between an old changeId and a snapshot, in pages.

Faults as documented (API reference) and reported: see each. A changeId outlives its snapshot, so that an
incremental asks with the old changeId and the new snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from steps.lab.simulator.devices import View
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tracking import Tracker, block_size, parse_change_id
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl

PAGE = 2000
"""Areas in one answer; a page seen at a user held as many (bareos issue 2152)."""

ALL = "*"


def query(machine: Machine, call: Call) -> Any:
    asked = call.arguments
    machine.world.look_outside()
    disk = machine.disk(asked.deviceKey)
    if disk is None or not disk.trackable:
        raise invalid_argument("deviceKey")
    view, until = _moment(machine, disk, asked.snapshot)
    if not 0 <= asked.startOffset < view.capacity:
        raise invalid_argument("startOffset")
    file = machine.layer_file(disk)(view.layer)
    if machine.world.faults.hits("cbt-locked"):
        raise _file_fault(file, "locked")
    if asked.changeId == ALL:
        areas = _allocated(machine, disk, view, asked.startOffset, file)
    else:
        areas = _changed(disk, asked.changeId, until, view.capacity, asked.startOffset, file)
    return _page(machine, asked.startOffset, view.capacity, areas)


def _moment(machine: Machine, disk: Disk, reference: Any) -> tuple[View, str | None]:
    """The disk's view, and the changeId up to which is asked (None: now, which a running VM refuses)."""
    if reference is None:
        if machine.is_on:
            raise fault(
                vim.fault.InvalidPowerState,
                "The attempted operation cannot be performed in the current state (Powered on).",
                existingState=machine.power,
            )
        return View(disk.top, disk.capacity, None), None
    for snapshot in machine.snapshots:
        if snapshot.moid == reference._moId:
            return snapshot.views[disk.key], snapshot.views[disk.key].change_id
    machine.world.find(reference)  # a gone one is ManagedObjectNotFound, another VM's is NotFound
    raise fault(vim.fault.NotFound, "The snapshot is not one of this virtual machine.")


def _allocated(machine: Machine, disk: Disk, view: View, start: int, file: str) -> Iterable[tuple[int, int]]:
    """ "*": the allocated areas on VMFS, all of the disk elsewhere (KB 320557)."""
    if disk.tracker is None:
        raise _file_fault(file, "noTrack")
    if machine.world.faults.hits("cbt-no-epoch"):
        raise _file_fault(file, "noEpoch")
    if machine.datastore_of(disk).spec.kind != "vmfs":
        return [(start, view.capacity)]
    return disk.allocated(view.layer, start, view.capacity, block_size(view.capacity))


def _changed(
    disk: Disk, change_id: str, until: str | None, capacity: int, start: int, file: str
) -> Iterator[tuple[int, int]]:
    """A changeId that does not parse is InvalidArgument; CBT off, another UUID or a later n are a
    FileFault."""
    parsed = parse_change_id(change_id)
    if parsed is None:
        raise invalid_argument("changeId")
    tracker: Tracker | None = disk.tracker
    if tracker is None:
        raise _file_fault(file, "noTrack")
    last = parse_change_id(until) if until is not None else None
    if parsed[0] != tracker.uuid or (until is not None and (last is None or last[0] != tracker.uuid)):
        raise _file_fault(file, "cannotGetChanges")
    changed = tracker.changed(parsed[1], last[1] if last else None)
    if changed is None:
        raise _file_fault(file, "cannotGetChanges")
    return changed.within(start, capacity)


def _page(machine: Machine, start: int, capacity: int, areas: Iterable[tuple[int, int]]) -> Any:
    rest = iter(areas)
    page = list(islice(rest, PAGE))
    end = page[-1][1] if next(rest, None) is not None else capacity
    if machine.world.faults.hits("cbt-extra"):
        page = [(start, end)]
    if machine.world.faults.hits("cbt-lie"):
        page = page[1::2]
    extents = [
        vim.VirtualMachine.DiskChangeInfo.DiskChangeExtent(start=low, length=high - low) for low, high in page
    ]
    return vim.VirtualMachine.DiskChangeInfo(startOffset=start, length=end - start, changedArea=extents)


def _file_fault(file: str, reason: str) -> Exception:
    """Key and text as clients of a real one met them (vsphere-csi-driver, TranslateVslmError; Commvault
    VMW0068)."""
    store, _, path = file.removeprefix("[").partition("] ")
    name = f"/vmfs/volumes/{store}/{path}"
    key = "vim.hostd.vmsvc.cbt." + reason
    message = f"Error caused by file {name}"
    made = fault(vim.fault.FileFault, message, file=name)
    if reason != "locked":
        made.faultMessage = [vmodl.LocalizableMessage(key=key, message=reason)]  # type: ignore[attr-defined]
    return made
