"""A disk of a restore point as a streamOptimized VMDK, against `qemu-img convert` of the same disk, in pairs of which now one,
now the other goes first. Both read it from one qemu-nbd. Ours compares every block with its digest on the way, and takes
SHA-1 and SHA-256 of the stream.

With an argument it is one process that makes one stream, and prints what it took as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.base.units import MiB, human_bytes
from runner.hosts.local import LocalHost
from steps.copy.digests import Digests, digest_of
from steps.restore.disk_stream import write_stream
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage, StoredDisk
from tests.bench.measure import Cost, peak_memory, run_program
from tests.hub import hub_on
from tests.nbd_servers import Servers

PAIRS = 5
AIM = 5.0
"""Times as fast as qemu-img, on two cores."""

SMALL, LARGE = 128 * MiB, 512 * MiB
"""Bytes of content of the two disks: the same memory does for both."""

HOLE = 8 * MiB
"""Behind each 8 MiB of content."""


def make_disk(path: Path, content: int) -> int:
    """As on a system's disk: its programs, libraries and text, with holes between; returns the capacity."""
    found = (file for file in sorted(Path("/usr").rglob("*")) if file.is_file() and not file.is_symlink())
    piece = bytearray()
    at = 0
    with path.open("wb") as disk:
        for file in found:
            try:
                piece += file.read_bytes()
            except OSError:
                continue
            while len(piece) >= HOLE and at < 2 * content:
                disk.seek(at)
                disk.write(piece[:HOLE])
                del piece[:HOLE]
                at += 2 * HOLE
            if at >= 2 * content:
                break
        disk.truncate(at)
    return at


def make_digests(path: Path, disk: Path, capacity: int) -> str:
    with Digests.create(path, capacity) as digests, disk.open("rb") as file:
        for offset in range(0, capacity, MiB):
            block = file.read(MiB)
            if any(block):
                digests.put(offset, digest_of(block))
        return digests.digest()


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        small, _ = measured(Path(scratch), SMALL, pairs=1)
        ours, theirs = measured(Path(scratch), LARGE, pairs=PAIRS)
    ratios = sorted(other.seconds / one.seconds for one, other in zip(ours, theirs, strict=True))
    middle = statistics.median(ratios)
    print(
        f"streamOptimized, {human_bytes(LARGE)} of content, times as fast as qemu-img convert, min / median / max: "
        f"{ratios[0]:.1f} / {middle:.1f} / {ratios[-1]:.1f} (aim {AIM:g}: {'met' if middle >= AIM else 'NOT met'}); "
        f"{LARGE / MiB / statistics.median(one.seconds for one in ours):.0f} MiB/s; CPU seconds "
        f"{statistics.median(one.cpu for one in ours):.1f} and {statistics.median(one.cpu for one in theirs):.1f}; "
        f"peak memory {human_bytes(max(one.memory for one in ours))}, of a disk of {human_bytes(SMALL)} "
        f"{human_bytes(small[0].memory)}",
        flush=True,
    )


def measured(scratch: Path, content: int, pairs: int) -> tuple[list[Cost], list[Cost]]:
    disk, digests, out = scratch / "disk.raw", scratch / "digests", scratch / "out.vmdk"
    capacity = make_disk(disk, content)
    digest = make_digests(digests, disk, capacity)
    ours, theirs = [], []
    with Servers() as servers:
        uri = servers.qemu_nbd(disk, "raw", "--read-only").uri
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", uri, str(out)]
        mine = json.dumps(
            {"uri": uri, "capacity": capacity, "digests": str(digests), "digest": digest, "out": str(out)}
        )
        for number in range(pairs):
            for turn in (0, 1):
                out.unlink(missing_ok=True)
                if (number + turn) % 2:
                    theirs.append(run_program(convert))
                else:
                    ours.append(run_ours(mine))
    return ours, theirs


def run_ours(told: str) -> Cost:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.streaming", told], capture_output=True, check=True, timeout=300
    )
    return Cost(**json.loads(done.stdout))


def stream(uri: str, capacity: int, digests: str, digest: str, out: str) -> Cost:
    image = DiskImage(key=2000, capacity=capacity, host="hub", images=("disk",), export="disk")
    stored = StoredDisk(
        key=2000,
        label="Hard disk 1",
        capacity=capacity,
        backing_uuid="",
        data=capacity // 2,
        point="point",
        image=image,
        digests=digests,
        digest=digest,
    )
    source = Serving(image=image, there=uri, uris=(uri,) * 4, size=capacity, read_only=True, cached=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Path(out).open("wb", buffering=0) as file,
        hub_on(LocalHost("hub"), f"{scratch}/repository", Path(scratch)) as hub,
    ):
        began, cpu = time.perf_counter(), time.process_time()
        write_stream(hub.context(), stored, source, file.write)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Cost(seconds=seconds, cpu=cpu, servers=0.0, memory=peak_memory("self"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(stream(**json.loads(sys.argv[1])).__dict__))
    else:
        main()
