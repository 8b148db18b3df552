"""The list of a repository's restore points, as it is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from runner.base.model import Model
from runner.base.units import MiB
from runner.hosts.host import Host
from steps.repository import marker, reader
from steps.repository.history import Entry
from steps.repository.manifest import Level, Origin, PointDisk, ReadBy
from steps.repository.naming import Names
from steps.repository.reader import Skipped
from steps.repository.verification_records import (
    Comparison,
    Drill,
    Protection,
    Suspicion,
    Verification,
)
from steps.repository.vm_directory import Unread, VmDirectory

# Dataclasses: these are made of what was validated, thousands of them.


@dataclass(frozen=True, slots=True)
class ListedDisk:
    """One disk of a point. Sizes in bytes."""

    key: int
    capacity: int
    data: int
    """Of blocks that are not all zero."""
    parent: str | None
    """Its parent; None for a full."""
    readback: ReadBy
    """By whom it was read back when it was made, or its image rebuilt since."""


@dataclass(frozen=True, slots=True)
class Point:
    """One restore point, as a list shows it. Sizes in bytes."""

    vm: str
    """Its name when the point was made."""
    label: str
    """What the VM is called now; with its inventory path and uuid where another VM there has that name
    too."""
    instance_uuid: str
    inventory_path: str
    point: str
    path: str
    sequence: int | None
    """Which of its VM's points it is, in the order of publication; None: from before that was counted."""
    created: datetime
    """Its snapshot's moment, by the vCenter's clock."""
    moment: datetime
    """The same, unless that clock was wrong: ages and periods are counted by it."""
    kind: Literal["full", "incremental"]
    disks: tuple[ListedDisk, ...]
    capacity: int
    data: int
    """Bytes of blocks that are not all zero."""
    stored: int
    """What its images and digests take on disk."""
    changed: int | None
    """Of an incremental, the bytes that changed since what it was built on, as far as that is known."""
    level: Level
    """How far it was compared when it was made."""
    blocks: int
    """Of its disks, 1 MiB each."""
    compared: int
    """Those among them that were, then."""
    verified: datetime
    """When that was."""
    at_rest: Verification | None
    """What later verifications of it at rest found."""
    against_source: Comparison | None
    """What comparisons with the VM found."""
    drilled: Drill | None
    """What came of booting it, the last time."""
    drilled_unread: str
    """Why that is unknown, in words; empty where it is known."""
    suspect: tuple[Suspicion, ...]
    protected: Protection | None
    locked: datetime | None
    """Until when nobody but root of the host can change or delete it; None: it is not locked."""
    broken: str | None
    """Why it cannot be restored and compared, in words: a point that it is built on is not there, or a file
    of one."""
    doubts: tuple[str, ...]
    """What speaks against its disks or what they are built on, in words."""
    good: bool
    """Every block was read back and compared, and of what it is built on too, and nothing speaks against any
    of it."""
    last_good: bool
    """The newest good one of its VM."""
    quiesced: str
    copied: Origin | None
    """Of a copy, what it was copied from."""
    notes: tuple[str, ...]


class Catalogue(Model):
    repository: str
    uuid: str
    """In the repository's marker."""
    host: str
    points: tuple[Point, ...]
    """By what the VMs are called, then oldest first."""
    skipped: tuple[Skipped, ...]
    unread: tuple[Unread, ...]
    """What may be a point, or speak against one, and could not be read: of its VM nothing is deleted"""
    unfinished: tuple[str, ...]
    """Paths of `.partial` directories."""
    on_hold: dict[str, str] = {}
    """VMs of which retention deletes nothing, by what they are called, and why"""


def read(
    host: Host,
    root: str,
    vms: Collection[str] = (),
    on_hold: Callable[[VmDirectory], str | None] = lambda vm: None,
) -> Catalogue:
    """Everything in the repository at `root`, or the points alone of those VMs that `vms` may mean; `on_hold`
    says why nothing of a VM is deleted. What is damaged is named, not raised. Raises NotARepositoryError,
    CommandError, HostError, and what `on_hold` does."""
    found = reader.read_all(host, root)
    names = Names(root, found.vms.values())
    wanted = names.vms if not vms else {vm.path: vm for name in vms for vm in names.all(name)}.values()
    ordered = sorted(wanted, key=lambda vm: (vm.vm_name, vm.path))
    return Catalogue(
        repository=root,
        uuid=marker.require(host, root).uuid,
        host=host.name,
        points=tuple(point for vm in ordered for point in _points(vm, names.label(vm))),
        skipped=tuple(found.skipped),
        unread=tuple(one for vm in found.vms.values() for one in vm.unread),
        unfinished=tuple(path for vm in found.vms.values() for path in vm.unfinished),
        on_hold={names.label(vm): why for vm in ordered if (why := on_hold(vm)) is not None},
    )


def _points(vm: VmDirectory, label: str) -> Iterator[Point]:
    last_good = vm.chains.newest_good
    for entry in vm.entries:
        yield _point(vm, entry, label, last_good=entry is last_good)


def _changed(disks: Collection[PointDisk]) -> int | None:
    known = [
        disk.written * MiB if disk.changed is None else disk.changed
        for disk in disks
        if disk.parent is not None
    ]
    return sum(known) if known else None


def _point(vm: VmDirectory, entry: Entry, label: str, *, last_good: bool) -> Point:
    manifest, marks, chains = entry.manifest, entry.marks, vm.chains
    return Point(
        vm=manifest.vm.name,
        label=label,
        instance_uuid=manifest.vm.instance_uuid,
        inventory_path=manifest.vm.inventory_path,
        point=manifest.point,
        path=entry.path,
        sequence=manifest.sequence,
        created=manifest.created,
        moment=manifest.moment,
        kind=manifest.kind,
        disks=tuple(
            ListedDisk(disk.key, disk.capacity, disk.data, disk.parent, disk.readback)
            for disk in manifest.disks
        ),
        capacity=sum(disk.capacity for disk in manifest.disks),
        data=sum(disk.data for disk in manifest.disks),
        stored=vm.stored_in(entry.path),
        changed=_changed(manifest.disks),
        level=manifest.level,
        blocks=sum(disk.blocks for disk in manifest.disks),
        compared=sum(disk.compared for disk in manifest.disks),
        verified=max(disk.verified for disk in manifest.disks),
        at_rest=marks.verified,
        against_source=marks.against_source,
        drilled=marks.drilled,
        drilled_unread=marks.drilled_unread,
        suspect=() if marks.suspect is None else marks.suspect.disks,
        protected=marks.protected,
        locked=vm.locked.get(manifest.point),
        broken=chains.broken(entry),
        doubts=tuple(chains.doubts(entry)),
        good=chains.good(entry),
        last_good=last_good,
        quiesced=manifest.quiesced,
        copied=manifest.copied,
        notes=tuple(dict.fromkeys((*manifest.notes, *manifest.clocks))),
    )
