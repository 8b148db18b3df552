"""Reading back by the repository host against reading back over the wire, in turns: direct, through SSH, and through SSH with
a round trip of 20 ms and 200 Mbit/s. There, the copy alone too: what reading back adds to it is what `auto` is for.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from runner.base.units import MiB, human_bytes
from runner.hosts.connect import connect
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.spec import SshSpec
from steps.copy.digests import Digests
from steps.qemu.nodes import Nodes
from steps.readback.comparison import ImageReader, Readback
from steps.readback.image import ImageAtRest
from tests.bench.copying import NARROW, ROUND_TRIP, Bench, bench_and_sshd, copy_forwards, delayed
from tests.bench.disk import SIZE
from tests.hub import hub_on

AIM = 1.25
"""Copy and read-back against the copy alone."""


class Image:
    def __init__(self, directory: Path, disk: Path) -> None:
        self._directory = directory
        self._path = directory / "at-rest.qcow2"
        argv = ("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(self._path))
        subprocess.run(argv, check=True)
        self._digests = Digests.create(directory / "digests", SIZE)
        with disk.open("rb") as file:
            for offset in range(0, SIZE, MiB):
                if (block := file.read(MiB)).strip(b"\0"):
                    self._digests.put(offset, blake3(block).digest())

    def read_back(self, host: Host, how: Readback) -> tuple[float, str]:
        """Seconds, and by whom it was done."""
        path = str(self._path)
        image = ImageAtRest(2000, "image", path, Nodes((path,)), SIZE, "disk")
        with tempfile.TemporaryDirectory() as scratch, hub_on(host, f"{scratch}/repository", Path(scratch)) as hub:
            context = hub.context()
            began = time.perf_counter()
            reader = ImageReader(context, host, image, self._digests, 1, lambda now: None)
            seen = reader.read_back(None, how)
            seconds = time.perf_counter() - began
        assert not seen.found.blocks
        return seconds, seen.by


@contextmanager
def _host(spec: SshSpec | None) -> Iterator[Host]:
    host = LocalHost("bench") if spec is None else connect("bench", spec)
    try:
        yield host
    finally:
        host.close()


def compare(name: str, image: Image, spec: SshSpec | None, pairs: int) -> float:
    """Prints min, median and max of each; returns the median of what auto chooses."""
    ways: tuple[Readback, ...] = ("host", "wire", "auto")
    seconds: dict[Readback, list[float]] = {way: [] for way in ways}
    with _host(spec) as host:
        for _ in range(pairs):
            for way in ways:
                took, by = image.read_back(host, way)
                seconds[way].append(took)
    for way in ways:
        low, middle, high = min(seconds[way]), sorted(seconds[way])[pairs // 2], max(seconds[way])
        chosen = f" (the last: {by})" if way == "auto" else ""
        print(f"reading back, {name}, {way:<4} {low:6.2f} {middle:6.2f} {high:6.2f} s{chosen}", flush=True)
    return sorted(seconds["auto"])[pairs // 2]


def copy_alone(bench: Bench, spec: SshSpec, proxy: int) -> float:
    """Seconds."""
    with copy_forwards(spec, bench.exporter(), round_trip=ROUND_TRIP) as many:
        return bench.engine(many, (proxy,)).seconds


def main(pairs: int = 3) -> None:
    with bench_and_sshd() as (bench, sshd):
        image = Image(bench.directory, bench.disk)
        print(f"an image of {human_bytes(bench.data)}; min, median, max")
        compare("direct", image, None, pairs)
        compare("through SSH", image, sshd.spec, pairs)
        with delayed(sshd.spec, NARROW) as (spec, proxy):
            name = f"through SSH, {ROUND_TRIP * 1000:.0f} ms and {NARROW * 8 / 1e6:.0f} Mbit/s"
            read_back = compare(name, image, spec, pairs)
            copy = sorted(copy_alone(bench, spec, proxy) for _ in range(pairs))[pairs // 2]
        ratio = (copy + read_back) / copy
        print(
            f"copy {copy:.2f} s, with reading back {copy + read_back:.2f} s: {ratio:.2f} × the copy alone "
            f"(aim {AIM}: {'met' if ratio <= AIM else 'NOT met'})"
        )


if __name__ == "__main__":
    main()
