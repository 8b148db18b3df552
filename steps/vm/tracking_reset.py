"""Resetting changed block tracking of a VM, where it is on and yet missing for a disk: off, a stun, on, a
stun.

That is how users reset it without a power cycle (PowerCLI-Example-Scripts pull request 38: switched off, the
tracking files go with the next snapshot that is taken and removed). It stuns the VM once more and makes the
old changeIds of all its disks worthless, so it is done once: beside the VM's restore points stands that it
was, until a run finds every disk tracked.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import Interrupted, SendenseError
from runner.hosts.host import Host
from runner.step.context import Context
from steps.repository import reset_record
from steps.repository.reset_record import TrackingReset
from steps.vsphere import cbt, machine, snapshots
from steps.vsphere.client import Client
from steps.vsphere.inventory import VM, FrozenDisk
from steps.vsphere.owner import describe, reserved

SUFFIX = "-reset"
"""Behind a run's name for its snapshot: of the one that only stuns the VM. Nothing is read from it."""

LOOK = "check in vSphere, with the VM off, that the advanced setting ctkEnabled of that disk is TRUE"


@dataclass(frozen=True)
class _Memory:
    """Where the VM's restore points are."""

    host: Host
    directory: str

    def read(self) -> TrackingReset | None:
        return reset_record.read(self.host, self.directory)


def missing(disks: Iterable[FrozenDisk]) -> tuple[FrozenDisk, ...]:
    """Those that could be tracked, and are not though the VM is."""
    return tuple(disk for disk in disks if disk.untracked == "missing")


@dataclass(frozen=True)
class Outcome:
    """`done`: tracking was reset, the snapshot is gone, and the next one puts it into effect. `remedy`: what
    is to be said of a disk that is not tracked in the end."""

    done: bool
    remedy: str


NOT_WISHED = Outcome(False, "")
LATER = Outcome(False, "the next run resets it")
"""Where the run was interrupted and resumes the snapshot that it has."""


def reset(ctx: Context, client: Client, vm: VM, snapshot: str, name: str) -> Outcome:
    """By what the `snapshot` (moref) of this run says of the disks. `name` is that of the run's snapshots.
    Warns of what it does, and where it is not to be. Raises PermissionMissing, Busy."""
    disks = missing(snapshots.contents(client, vm.moref, snapshot).disks)
    memory = _memory(ctx, vm)
    if not disks:
        if memory is not None:
            reset_record.forget(memory.host, memory.directory)
        return Outcome(False, "")
    why = _why_not(client, vm, snapshot, disks, memory)
    if memory is None or why:
        ctx.warn(
            f"{_named(disks)} of {vm.name} stays without changed block tracking, which is on for the VM: "
            f"{why}"
        )
        return Outcome(False, why)
    ctx.warn(
        f"vSphere gives no changeId for {_named(disks)} of {vm.name}, though changed block tracking is on: "
        "resetting it once; this run reads all disks completely"
    )
    uuids = tuple(disk.backing_uuid for disk in disks)
    note = TrackingReset(run=ctx.run.id, at=datetime.now(UTC), disks=uuids)
    # Before the first act: a run that dies in the middle must not have the next night do all of it again.
    reset_record.write(memory.host, memory.directory, note)
    # A frozen disk keeps its tracking file: the setting changes nothing while a snapshot is there.
    _remove(client, vm, snapshot)
    cbt.disable(client, vm.moref)
    # Of a running VM the setting takes effect with the next stun, and creating a snapshot is one.
    if machine.powered_on(client, vm.moref):
        stunned = snapshots.create(
            client, vm.moref, f"{name}{SUFFIX}", describe(ctx, vm.instance_uuid), quiesce=False
        )
        _remove(client, vm, stunned)
    cbt.enable(client, vm.moref)
    reset_record.write(memory.host, memory.directory, note.model_copy(update={"done": True}))
    return Outcome(True, f"this run reset it, and that did not help: {LOOK}")


def tell(ctx: Context, vm: VM, disks: Iterable[FrozenDisk]) -> None:
    """After a reset: of what it did not help."""
    if left := missing(disks):
        ctx.warn(
            f"resetting changed block tracking did not help {_named(left)} of {vm.name}, and is not "
            f"repeated: {LOOK}"
        )


def remove_leftover(client: Client, vm: VM, name: str) -> None:
    """What a run that was killed in the middle of a reset left."""
    if (found := snapshots.find(client, vm.moref, f"{name}{SUFFIX}")) is not None:
        _remove(client, vm, found.moref)


def _why_not(
    client: Client, vm: VM, snapshot: str, disks: tuple[FrozenDisk, ...], memory: _Memory | None
) -> str:
    """In words; empty if nothing speaks against it."""
    if memory is None:
        return (
            "`cbt: reset` takes a reserve step before this one, since it is noted with the restore points "
            "that it was done"
        )
    others = [one for one in snapshots.listed(client, vm.moref) if one.moref != snapshot]
    if others:
        return f"it is not reset while the VM has snapshots ({others[0].name}): remove them first"
    try:
        before = memory.read()
    except Interrupted:
        raise
    except SendenseError as error:
        return f"whether it was reset before cannot be read: {error.message}"
    if before is not None and before.done and {disk.backing_uuid for disk in disks} <= set(before.disks):
        return f"run {before.run} reset it, and that did not help: {LOOK}"
    return ""


def _memory(ctx: Context, vm: VM) -> _Memory | None:
    place = reserved(ctx, vm.instance_uuid)
    if place.host is None or place.lock is None:
        return None
    return _Memory(place.host, posixpath.dirname(place.lock))


def _remove(client: Client, vm: VM, moref: str) -> None:
    snapshots.remove(client, vm.moref, moref)
    snapshots.consolidate_if_needed(client, vm.moref)


def _named(disks: tuple[FrozenDisk, ...]) -> str:
    return f"disk{'s' if len(disks) > 1 else ''} {', '.join(str(disk.key) for disk in disks)}"
