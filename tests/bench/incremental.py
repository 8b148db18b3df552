"""A whole incremental run against a whole full one of the same disk, each as `sendense run` in a process of its own.

The guest wrote 1 % of the disk in pieces of 64 KiB, anywhere. The disk is read over HTTPS from a simulated vCenter, which
serves no extents: a full reads every byte, holes too. Python serves it, so its share of the time is told apart: a server
that were faster would make the full shorter, and the ratio smaller.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.base.units import GiB, KiB, MiB, human_bytes
from tests.estate import VM, Estate, disk, estate, inventory, machine, of, read

KEY = 2000
WRITE = 64 * KiB
SHARE = 100
"""One byte in so many is written between two runs."""
TIMEOUT = 300.0


@dataclass(frozen=True)
class Shape:
    """`data`: bytes that are not holes, in `RUNS` of equal length. Each full is of a fresh disk, and `INCREMENTS` follow it:
    writes into holes make the next full a larger one."""

    size: int
    data: int
    fulls: int


SHAPES = (Shape(GiB, GiB // 2, fulls=3), Shape(8 * GiB, 3 * GiB, fulls=2))
RUNS = 128
INCREMENTS = 2


@dataclass(frozen=True)
class Took:
    """`cpu`: seconds of `sendense run` and all that it started; `simulator`: of what served the disk; `source`: bytes that
    the latter sent; `image`: bytes that the image takes."""

    seconds: float
    cpu: float
    simulator: float
    source: int
    image: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:6.2f} s, CPU {self.cpu:5.2f} s (the simulator's {self.simulator:5.2f} s), "
            f"read {human_bytes(self.source)} at the source, wrote {human_bytes(self.image)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=int, choices=[shape.size // GiB for shape in SHAPES], help="only this size")
    wanted = parser.parse_args().gib
    for shape in SHAPES:
        if wanted in (None, shape.size // GiB):
            _measure(shape)


def _measure(shape: Shape) -> None:
    writes = shape.size // SHARE // WRITE
    sizes = f"{human_bytes(shape.size)}, {human_bytes(shape.data)} of it data"
    print(f"a disk of {sizes}; {writes} writes of 64 KiB before each incremental:", flush=True)
    ratios: list[float] = []
    for number in range(shape.fulls):
        with tempfile.TemporaryDirectory(prefix="sb-") as name:
            ratios += _ratios(Path(name), shape, random.Random(number))
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"  the incremental is {low:.1f}, {middle:.1f}, {high:.1f} × as fast (min, median, max)", flush=True)


def _ratios(directory: Path, shape: Shape, chance: random.Random) -> Iterator[float]:
    one = disk(KEY, f"{shape.size // MiB} MiB")
    with estate(directory, {"prod": inventory(machine(one, change_tracking=True))}) as site:
        _fill(site, shape, chance)
        full = _run(site, "full")
        print(f"  full        {full}", flush=True)
        for _ in range(INCREMENTS):
            for _ in range(shape.size // SHARE // WRITE):
                site.vcenter.write(VM, KEY, chance.randrange(0, shape.size, WRITE), chance.randbytes(WRITE))
            increment = _run(site, "incremental")
            print(f"  incremental {increment}", flush=True)
            yield full.seconds / increment.seconds


def _fill(site: Estate, shape: Shape, chance: random.Random) -> None:
    stride = shape.size // RUNS
    for start in range(0, shape.size, stride):
        for at in range(start, start + shape.data // RUNS, MiB):
            site.vcenter.write(VM, KEY, at, chance.randbytes(MiB))


def _run(site: Estate, mode: str) -> Took:
    job = site.job(mode=mode)
    argv = [sys.executable, "-m", "runner.cli", "run", str(job), "--state", str(site.directory / "state")]
    sent, simulator = _sent(site), time.process_time()
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said, subprocess.Popen(argv, stdout=said, stderr=said) as program:
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        said.seek(0)
        if program.returncode:
            raise RuntimeError(f"the job ended with exit code {program.returncode}: {said.read().decode()}")
    (point,) = sorted(site.repository().glob("*-*/*/manifest.json"), key=lambda path: path.stat().st_mtime)[-1:]
    made = of(point.parent, KEY)
    if read(point.parent).level != "full" or (made.parent is None) != (mode == "full"):
        raise RuntimeError(f"{point.parent} is not the point that was asked for")
    return Took(
        seconds=seconds,
        cpu=used.ru_utime + used.ru_stime,
        simulator=time.process_time() - simulator,
        source=_sent(site) - sent,
        image=(point.parent / made.image).stat().st_blocks * 512,
    )


def _sent(site: Estate) -> int:
    """Bytes of the VM's disks that the vCenter sent."""
    return sum(count for path, count in site.vcenter.served.items() if "-flat.vmdk" in path)


if __name__ == "__main__":
    main()
