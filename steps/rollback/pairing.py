"""Which disk of a VM is which disk of a restore point: by the uuid of its backing, never by its key, which is
a slot that another disk may have by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.base.units import human_bytes
from steps.values.created_vm import CreatedDisk, MarkedVm
from steps.values.stored_point import StoredDisk, StoredPoint
from steps.vsphere.inventory import Disk, FrozenDisk, Uncovered

CHOOSE = "name the disks that are to be put back with --disk KEY"


class NotPaired(SendenseError):
    """The VM has not the disks that the restore point has. Nothing was changed."""

    fix_first = True


@dataclass(frozen=True)
class Pair:
    stored: StoredDisk
    live: Disk


def pairs(
    vm: str, point: StoredPoint, live: Sequence[Disk], uncovered: Sequence[Uncovered], *, chosen: bool
) -> tuple[Pair, ...]:
    """Of each disk of `point` the VM's, in their order. `chosen`: the disks were named, and what else the VM
    has does not matter. Raises NotPaired, which names everything that does not fit."""
    wrong: list[str] = []
    found: list[Pair] = []
    for stored in point.disks:
        disk = _of(stored, live)
        if disk is None:
            wrong.append(_gone(vm, stored, live, uncovered))
        elif disk.capacity != stored.capacity:
            wrong.append(_resized(stored, disk))
        else:
            found.append(Pair(stored, disk))
    if not chosen:
        known = {stored.backing_uuid.lower() for stored in point.disks}
        wrong += [_added(disk, point) for disk in live if disk.backing_uuid.lower() not in known]
    if wrong:
        advice = "" if chosen else f"; {CHOOSE}"
        raise NotPaired(f"{vm} has not the disks that it had at {point.point}: {'; '.join(wrong)}{advice}")
    return tuple(found)


def where_they_are(vm: MarkedVm, live: Sequence[FrozenDisk]) -> MarkedVm:
    """`vm` with its disks as they are attached by now: moved to another file, or to another slot. One that is
    not there, or twice, stays as it was known, and is refused when it is opened."""
    return vm.model_copy(update={"disks": tuple(_as_attached(disk, live) for disk in vm.disks)})


def _as_attached(disk: CreatedDisk, live: Sequence[FrozenDisk]) -> CreatedDisk:
    same = [one for one in live if (one.backing_uuid, one.capacity) == (disk.backing_uuid, disk.capacity)]
    if len(same) != 1:
        return disk
    return disk.model_copy(update={"new_key": same[0].key, "file": same[0].file})


def _of(stored: StoredDisk, live: Sequence[Disk]) -> Disk | None:
    """None also where two say that they are it, as after a file was copied with its uuid."""
    same = [disk for disk in live if disk.backing_uuid.lower() == stored.backing_uuid.lower()]
    return same[0] if len(same) == 1 else None


def _gone(vm: str, stored: StoredDisk, live: Sequence[Disk], uncovered: Sequence[Uncovered]) -> str:
    named = f"disk {stored.key} ({stored.label})"
    same = [disk for disk in live if disk.backing_uuid.lower() == stored.backing_uuid.lower()]
    if same:
        return f"{named} is there {len(same)} times ({', '.join(disk.label for disk in same)})"
    for other in uncovered:
        if other.key == stored.key:
            return f"{named} is {other.why} now"
    if any(disk.key == stored.key for disk in live):
        return f"{named} is gone, and another disk has its place"
    return f"{named} was removed since, and a rollback adds none to {vm}"


def _resized(stored: StoredDisk, disk: Disk) -> str:
    how = "grown" if disk.capacity > stored.capacity else "made smaller"
    return (
        f"disk {stored.key} ({stored.label}) was {how} since: it has {human_bytes(disk.capacity)} "
        f"({disk.capacity} bytes), not {human_bytes(stored.capacity)} ({stored.capacity} bytes)"
    )


def _added(disk: Disk, point: StoredPoint) -> str:
    return f"{disk.label} ({human_bytes(disk.capacity)}) was added since, and is not in {point.point}"
