"""Restore points built on others, by qemu-img and the repository's own models: what an incremental backup leaves."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from blake3 import blake3

from runner.base.units import KiB, MiB
from runner.hosts.local import LocalHost
from steps.copy.digests import Digests, digest_of, zero_digest
from steps.copy.extents import BLOCK
from steps.qemu import img
from steps.repository import layout, manifest
from steps.repository.manifest import Manifest
from steps.vsphere.inventory import VM, Disk
from tests.hub import Hub
from tests.points import publish

HOST = LocalHost("hub")


@dataclass(frozen=True)
class Reference:
    """A point and, by disk key, raw files of what its disks held at its moment."""

    point: Path
    disks: dict[int, Path]


def qemu(*argv: str | Path) -> str:
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reference(point: Path, directory: Path) -> Reference:
    """What `qemu-img` alone makes of the point's disks."""
    disks = {}
    directory.mkdir(exist_ok=True)
    for disk in manifest_of(point).disks:
        disks[disk.key] = directory / f"{point.name}-{disk.key}.raw"
        qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", point / disk.image, disks[disk.key])
    return Reference(point, disks)


def full(hub: Hub, directory: Path, *disks: Disk, machine: VM | None = None) -> Reference:
    """A point of a run, with content in its disks: the first and the last sector, and a run of bytes between."""
    point = Path(publish(hub, *disks, machine=machine).path)
    made = manifest_of(point)
    images = []
    for disk in made.disks:
        commands = [f"write -P {1 + disk.key % 200} 0 512", f"write -P 99 {disk.capacity // 2 // 512 * 512} 64k"]
        commands.append(f"write -P 7 {disk.capacity - 512} 512")
        qemu("qemu-io", "-f", "qcow2", *(word for command in commands for word in ("-c", command)), point / disk.image)
    found = reference(point, directory)
    for disk in made.disks:
        (point / disk.digests).unlink()
        images.append(disk.model_copy(update=_digested(found.disks[disk.key], point / disk.digests)))
    (point / layout.MANIFEST).write_bytes(manifest.dump(made.model_copy(update={"disks": tuple(images)})))
    return found


def manifest_of(point: Path) -> Manifest:
    found = manifest.read(HOST, str(point))
    assert found is not None
    return found


def incremental(parent: Reference, directory: Path, seed: int) -> Reference:
    """A point on `parent`, an hour later: in each disk some new bytes, the last sector, and a block that became zero."""
    before = manifest_of(parent.point)
    chance = random.Random(seed)
    created = before.created + timedelta(hours=1)
    run = f"{created:%Y%m%dT%H%M%SZ}-{chance.randrange(1 << 32):08x}"
    point = parent.point.parent / layout.point(created, run)
    point.mkdir(mode=0o700)
    (point / layout.VM_FILES).mkdir()
    disks, references = [], {}
    for disk in before.disks:
        raw = directory / f"{point.name}-{disk.key}.raw"
        qemu("cp", "--sparse=always", parent.disks[disk.key], raw)
        image = point / disk.image
        img.create(HOST, str(image), disk.capacity, backing=f"../{parent.point.name}/{disk.image}")
        zeroed = BLOCK if disk.capacity >= 2 * BLOCK else 0
        commands = ["-c", f"write -z {zeroed} {64 * KiB}"]
        with raw.open("r+b") as file:
            file.seek(zeroed)
            file.write(bytes(64 * KiB))
            for offset, length in (
                (chance.randrange(disk.capacity // MiB) * MiB + 4096, 4096),
                (disk.capacity - 512, 512),
            ):
                byte = chance.randrange(1, 256)
                file.seek(offset)
                file.write(bytes([byte]) * length)
                commands += ["-c", f"write -P {byte} {offset} {length}"]
        qemu("qemu-io", "-f", "qcow2", *commands, image)
        disks.append(disk.model_copy(update={"parent": parent.point.name, **_digested(raw, point / disk.digests)}))
        references[disk.key] = raw
    which = {"point": point.name, "sequence": (before.sequence or 0) + 1, "run": run, "created": created}
    made = before.model_copy(update={**which, "disks": tuple(disks)})
    (point / layout.MANIFEST).write_bytes(manifest.dump(made))
    return Reference(point, references)


def _digested(raw: Path, file: Path) -> dict[str, object]:
    """Writes the digests file; what a manifest says of it."""
    capacity = raw.stat().st_size
    with Digests.create(file, capacity) as digests, raw.open("rb") as content:
        for offset in range(0, capacity, BLOCK):
            block = content.read(BLOCK)
            if digest_of(block) != zero_digest(len(block)):
                digests.put(offset, digest_of(block))
        data, zero = digests.counts()
        assert digests.digest() == blake3(file.read_bytes()).hexdigest()
        return {"digest": digests.digest(), "data": data, "zero": zero}
