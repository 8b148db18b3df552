"""What the manifest of a new restore point says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.hosts.host import Host
from runner.step.context import Context
from steps.backup.unpublished import Unpublished
from steps.repository import layout, manifest, reader
from steps.repository.manifest import LastFull, Manifest, PointDisk, VmIdentity
from steps.repository.vm_directory import VmDirectory
from steps.values.copied import Copied
from steps.values.snapshot import SnapshotTaken
from steps.values.verified import Verified


@dataclass(frozen=True)
class There:
    """What a new point finds: the others of its VM, and the time by the host's own clock."""

    seen: VmDirectory
    clock: datetime


def there(host: Host, directory: str) -> There:
    """In a VM's directory, whose lock is held. Raises UnreadableError, CommandError."""
    return There(reader.read(host, directory), _clock(host))


def of(
    ctx: Context,
    inputs: Unpublished,
    point: str,
    there: There,
    *,
    nvram: str | None,
    notes: tuple[str, ...],
    tools: dict[str, str],
    saved: dict[str, str],
) -> Manifest:
    """Of the point called `point`."""
    vm, snapshot, seen = inputs.vm, inputs.snapshot, there.seen
    made = Manifest(
        point=point,
        sequence=seen.next_sequence(),
        run=ctx.run.id,
        created=snapshot.created,
        published=datetime.now(UTC),
        stored=there.clock,
        unread=tuple(sorted(name for name in seen.unread_points if layout.is_point(name))),
        vm=VmIdentity(
            vcenter_uuid=vm.vcenter_uuid,
            instance_uuid=vm.instance_uuid,
            bios_uuid=vm.bios_uuid,
            moref=vm.moref,
            name=vm.name,
            inventory_path=vm.inventory_path,
            asked=vm.asked,
        ),
        quiesced=snapshot.quiesced,
        level=manifest.weakest([disk.proven for disk in inputs.disks]),
        disks=tuple(_point_disk(disk, snapshot) for disk in inputs.disks),
        config=layout.VM_CONFIG,
        nvram=nvram,
        notes=notes,
        job=ctx.run.job,
        job_digest=ctx.run.job_digest,
        git_commit=ctx.run.git_commit,
        tools=tools,
        saved=saved,
    )
    disks = tuple(_dated(disk, made.moment) for disk in made.disks)
    return made.model_copy(update={"disks": disks, "notes": (*notes, *made.clocks)})


def _clock(host: Host) -> datetime:
    return datetime.fromtimestamp(int(host.run(("date", "+%s")).stdout), UTC)


def _dated(disk: PointDisk, moment: datetime) -> PointDisk:
    """Of a full: when its point was made is known by all three clocks only."""
    if disk.parent is not None or disk.last_full is None:
        return disk
    return disk.model_copy(update={"last_full": LastFull(at=moment, points=disk.last_full.points)})


def _lineage(copied: Copied, created: datetime) -> dict[str, Any]:
    base, parent = copied.base, copied.parent
    last_full = LastFull(at=created, points=1) if parent is None else parent.last_full.next()
    if base is None:
        return {"read": copied.read, "last_full": last_full}
    return {
        "parent": parent and parent.point,
        "by": base.by,
        "reason": base.reason,
        "last_full": last_full,
        "changed": base.changed,
        "read": copied.read,
    }


def _point_disk(verified: Verified, snapshot: SnapshotTaken) -> PointDisk:
    copied, disk = verified.copied, verified.copied.image.disk
    frozen = next(frozen for frozen in snapshot.disks if frozen.key == disk.key)
    return PointDisk(
        key=disk.key,
        label=disk.label,
        controller=f"{disk.controller.kind} {disk.controller.bus}",
        unit=disk.unit,
        capacity=disk.capacity,
        backing_uuid=disk.backing_uuid,
        file=frozen.file,
        change_id=frozen.change_id,
        rolled_back=frozen.rolled_back,
        sampled=copied.sampled,
        **_lineage(copied, snapshot.created),
        image=layout.image(disk.key),
        digests=layout.digests(disk.key),
        digest=copied.digest,
        data=copied.data,
        zero=copied.zero,
        copy_seconds=copied.seconds,
        level=verified.proven,
        blocks=verified.blocks,
        written=copied.written,
        compared=verified.compared,
        inherited=verified.inherited,
        cached=verified.cached,
        readback=verified.readback,
        leaks=verified.leaks,
        verified=verified.at,
    )
