"""Restore points in chains, made by hand: manifests through the real models, images by qemu-img."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from steps.repository import layout
from steps.repository.manifest import Level, Manifest, PointDisk, VmIdentity
from tests.hub import INSTANCE, VCENTER

CAPACITY = 4 * 1024 * 1024


def run_id(number: int, at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{number:04x}0000"


def point_name(number: int, at: datetime) -> str:
    return layout.point(at, run_id(number, at))


def disk_of(key: int, parent: str | None, **changes: Any) -> PointDisk:
    made = PointDisk(
        key=key,
        label=f"Hard disk {key - 1999}",
        controller="pvscsi 0",
        unit=key - 2000,
        capacity=CAPACITY,
        backing_uuid=f"6000C290-0000-0000-0000-{key:012d}",
        file=f"[ds1] pgtest1/pgtest1_{key}.vmdk",
        change_id=None,
        parent=parent,
        image=layout.image(key),
        digests=layout.digests(key),
        digest="0" * 64,
        data=CAPACITY,
        zero=0,
        copy_seconds=1.0,
        level="full",
        blocks=4,
        compared=4,
        cached=False,
        leaks=0,
        verified=datetime(2026, 11, 1, tzinfo=UTC),
    )
    return made.model_copy(update=changes)


def manifest_of(
    number: int,
    at: datetime,
    parents: Mapping[int, str | None],
    *,
    level: Level = "full",
    vm: str = "pgtest1",
    instance: str = INSTANCE,
    **changes: Any,
) -> Manifest:
    """Of point `number`; `parents` by disk key, `changes` of every disk."""
    return Manifest(
        point=point_name(number, at),
        run=run_id(number, at),
        created=at,
        published=at + timedelta(minutes=5),
        vm=VmIdentity(
            vcenter_uuid=VCENTER,
            instance_uuid=instance,
            bios_uuid="42130000-0000-0000-0000-000000000001",
            moref="vm-16",
            name=vm,
            inventory_path=f"DC0/vm/{vm}",
        ),
        quiesced="yes",
        level=level,
        disks=tuple(disk_of(key, parent, **changes) for key, parent in parents.items()),
        config=layout.VM_CONFIG,
        nvram=None,
        notes=(),
        job=f"{vm}-nightly",
        job_digest="0" * 64,
        git_commit=None,
        tools={"qemu-img on hub": "7.2.22", "sendense": "0.1.0"},
    )
