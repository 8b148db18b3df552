"""Restore points in chains, made by hand: manifests through the real models, images by qemu-img."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blake3 import blake3

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.copy.extents import BLOCK
from steps.maintain.prune import Prune
from steps.repository import layout, marker
from steps.repository.manifest import Level, Manifest, PointDisk, VmIdentity, dump
from steps.repository.retention import Policy
from steps.repository.section import BrakeLimits
from steps.values.pruned import Pruned
from tests.hub import INSTANCE, VCENTER, Hub

CAPACITY = 4 * MiB
FIRST = datetime(2026, 11, 1, 3, tzinfo=UTC)
NOW = FIRST + timedelta(days=30)
BRAKE = BrakeLimits()

Writes = Sequence[tuple[int, int, int]]
"""Offset, length, byte; zero is written as zero."""


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
        blocks=-(-changes.get("capacity", CAPACITY) // BLOCK),
        compared=4 if parent is None else 3,
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
    sequence: int | None = None,
    unread: tuple[str, ...] = (),
    **changes: Any,
) -> Manifest:
    """Of point `number`; `parents` by disk key, `changes` of every disk. Without `sequence` as from before there was one."""
    published = at + timedelta(minutes=5)
    return Manifest(
        schema_version=1 if sequence is None else 2,
        point=point_name(number, at),
        sequence=sequence,
        run=run_id(number, at),
        created=at,
        published=published,
        stored=None if sequence is None else published,
        unread=unread,
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
        disks=tuple(disk_of(key, parent, level=level, **changes) for key, parent in parents.items()),
        config=layout.VM_CONFIG,
        nvram=None,
        notes=(),
        job=f"{vm}-nightly",
        job_digest="0" * 64,
        git_commit=None,
        tools={"qemu-img on hub": "7.2.22", "sendense": "0.1.0"},
    )


@dataclass
class Chain:
    """The points of one VM in the repository at `root`, with images by qemu-img, and what each must read as."""

    root: Path
    vm: str = "pgtest1"
    instance: str = INSTANCE
    capacity: int = CAPACITY
    reference: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """Point and disk key → the disk's bytes."""
    now: dict[int, bytearray] = field(default_factory=dict)
    """The disks of the VM as they are."""
    points: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.root / layout.vm_directory(self.vm, self.instance)

    def path(self, number: int) -> Path:
        return self.directory / self.points[number]

    def image(self, number: int, key: int = 2000) -> Path:
        return self.path(number) / layout.image(key)

    def add(
        self,
        parents: Mapping[int, int | None],
        writes: Mapping[int, Writes],
        *,
        at: datetime | None = None,
        run: int | None = None,
        **changes: Any,
    ) -> str:
        """A point a day later, or at `at`, of run `run`: of each disk its parent's number (None: a full) and what the guest
        wrote since: offset, length and byte."""
        number = len(self.points)
        at = at or FIRST + timedelta(days=number)
        run = number if run is None else run
        names = {key: None if parent is None else self.points[parent] for key, parent in parents.items()}
        given: dict[str, Any] = {"sequence": number + 1, "capacity": self.capacity, **changes}
        made = manifest_of(run, at, names, vm=self.vm, instance=self.instance, **given)
        path = self.directory / made.point
        path.mkdir(parents=True)
        disks = []
        for disk in made.disks:
            self._image(path, disk, parents[disk.key], writes.get(disk.key, ()))
            digests = digests_of(self.now[disk.key])
            (path / disk.digests).write_bytes(digests)
            self.reference[(made.point, disk.key)] = bytes(self.now[disk.key])
            disks.append(disk.model_copy(update={"digest": blake3(digests).hexdigest()}))
        (path / layout.VM_FILES).mkdir()
        (path / layout.VM_FILES / layout.VM_CONFIG).write_bytes(b"{}")
        (path / layout.MANIFEST).write_bytes(dump(made.model_copy(update={"disks": tuple(disks)})))
        self.points.append(made.point)
        return made.point

    def _image(self, path: Path, disk: PointDisk, parent: int | None, writes: Writes) -> None:
        image = path / disk.image
        content = self.now.setdefault(disk.key, bytearray(self.capacity))
        for offset, length, byte in writes:
            content[offset : offset + length] = bytes((byte,)) * length
        below = () if parent is None else ("-b", layout.backing(self.points[parent], disk.key), "-F", "qcow2")
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *below, str(image), str(self.capacity))
        if parent is None:
            raw = path / "raw"
            raw.write_bytes(content)
            qemu("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", str(raw), str(image))
            raw.unlink()
        elif writes:
            commands = [
                f"write {'-z' if not byte else f'-P {byte}'} {offset} {length}" for offset, length, byte in writes
            ]
            qemu("qemu-io", "-f", "qcow2", *(word for line in commands for word in ("-c", line)), str(image))

    def whole(self) -> set[str]:
        """The points that are there, each read by qemu-img alone and compared with what it must be. Those that do not read
        as they must fail the test."""
        found = {path.parent.name for path in self.directory.glob(f"*/{layout.MANIFEST}")}
        raw = self.root.parent / f"{self.vm}.raw"
        for point, key in self.reference:
            if point in found:
                image = self.directory / point / layout.image(key)
                qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw))
                assert raw.read_bytes() == self.reference[(point, key)], f"disk {key} of {point}"
        return found


def prune(hub: Hub, made: Chain, **policy: int) -> Pruned:
    """As the policy says on the day `NOW`."""
    inputs = Prune.In(repository="main", vm=made.instance, policy=Policy(**policy), now=NOW)
    context = hub.context()
    with context.closing:
        return Prune().run(context, inputs, Prune.Live())


def digests_of(content: bytes | bytearray) -> bytes:
    blocks = (bytes(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK))
    return b"".join(blake3(block).digest() if block.strip(b"\0") else bytes(32) for block in blocks)


def qemu(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def many(root: Path, vms: int, points: int) -> None:
    """A repository of `vms` × `points` manifests of two disks, a full every thirty, without what images hold."""
    named = {f"{vm:08x}-0000-4000-8000-000000000000": f"vm{vm:04}" for vm in range(vms)}
    many_of(root, named, points)


def many_of(root: Path, vms: Mapping[str, str], points: int, vcenter: str = VCENTER) -> None:
    """As `many`, of VMs with these names by their instance uuids."""
    marker.init(LocalHost(), str(root))
    first = datetime(2026, 1, 1, 3, tzinfo=UTC)
    for instance, name in vms.items():
        directory = root / layout.vm_directory(name, instance)
        directory.mkdir()
        parent: str | None = None
        for number in range(points):
            parents = {2000: parent, 2001: parent} if number % 30 else {2000: None, 2001: None}
            made = manifest_of(number, first + timedelta(days=number), parents, vm=name, instance=instance)
            made = made.model_copy(update={"vm": made.vm.model_copy(update={"vcenter_uuid": vcenter})})
            (directory / made.point).mkdir()
            (directory / made.point / layout.MANIFEST).write_bytes(dump(made))
            for key in parents:
                for file in (layout.image(key), layout.digests(key)):
                    (directory / made.point / file).write_bytes(b"-")
            parent = made.point
