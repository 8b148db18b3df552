"""The hub loses power in the middle of a copy: the image is sound, and every block that the ledger names is in it."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

from runner.base.units import MiB
from runner.hosts import process
from runner.hosts.local import LocalHost
from steps.copy.digests import Digests
from steps.copy.engine import Tuning, copy
from steps.copy.ledger import Flushed, Ledger, LedgerHead, read_ledger
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.nbd.exporter import CACHES
from steps.qemu import img, nbd_server
from tests.eventually import eventually
from tests.faults.disks import SEED, TORTURE
from tests.faults.write_log import Entry, LoggedImage, cut_power, read_log

SIZE = 40 * MiB + 512
CONNECTIONS = 4
TUNING = Tuning(window=6 * MiB)
"""A FLUSH every 3 MiB, with as many writes under way."""
CUTS = 60 if TORTURE else 6


@dataclass
class Copied:
    """A copy with the log of what its exporter wrote; `marks`: how long the log was when the ledger got that long."""

    source: MemoryDisk
    base: Path
    log: Path
    entries: list[Entry]
    ledger: bytes
    marks: list[tuple[int, int]]

    def ledger_at(self, entries: Sequence[Entry]) -> tuple[Flushed, ...]:
        """What it said when the last of `entries` had been logged."""
        written = entries[-1].end
        length = max((length for length, logged in self.marks if logged <= written), default=0)
        reading = read_ledger(self.ledger[:length], "ledger")
        return () if reading is None else reading.segments[-1].ranges


def exporter(image: nbd_server.Image, sockets: Path, cache: nbd_server.Cache = "writeback") -> process.LeashedChild:
    """As the hub's."""
    pid_file, socket = sockets / "pid", sockets / "nbd"
    shared = CONNECTIONS + nbd_server.SPARE_CONNECTIONS
    argv = nbd_server.argv(
        image, str(socket), "disk", read_only=False, shared=shared, cache=cache, pid_file=str(pid_file)
    )
    child = process.start(argv)
    assert eventually(lambda: pid_file.exists() or child.poll() is not None, 30), "it does not get ready"
    if cache == "none" and nbd_server.refuses_direct(child.stderr()):
        pytest.skip("the file system of the temporary directory has no O_DIRECT")
    assert child.poll() is None, child.stderr()
    return child


def source() -> MemoryDisk:
    """A third is holes; blocks of zeroes in the middle of data, and data in the last sector."""
    disk, chance = MemoryDisk(SIZE), random.Random(1)
    for offset in range(0, SIZE, MiB):
        if chance.random() < 2 / 3 or offset + MiB > SIZE:
            disk.write(offset, chance.randbytes(min(MiB, SIZE - offset)))
    return disk


@pytest.fixture(scope="module", params=CACHES)
def copied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    directory = tmp_path_factory.mktemp("power")
    image, base, log, file = (directory / name for name in ("image", "base", "log", "digests"))
    img.create(LocalHost(), str(image), SIZE)
    shutil.copyfile(image, base)
    log.touch()
    ledger_bytes, marks = bytearray(), []
    ledger = Ledger(ledger_bytes.extend)
    ledger.begin(LedgerHead(disk_key=2000, capacity=SIZE, backing_uuid="u", image="i", snapshot="s"))

    def record(ranges: Sequence[Flushed]) -> None:
        ledger.record(ranges)
        marks.append((len(ledger_bytes), log.stat().st_size))

    disk = source()
    with process.temporary_directory() as sockets:
        child = exporter(LoggedImage((str(image),), log=str(log)), Path(sockets), request.param)
        try:
            uris = (nbd_server.uri(f"{sockets}/nbd", "disk"),) * CONNECTIONS
            with NbdEndpoint(uris, "target") as target, Digests.create(file, SIZE) as digests:
                reader = MemoryEndpoint(disk, "source", connections=CONNECTIONS, read_only=True)
                copy(reader, target, digests, stop=threading.Event(), tuning=TUNING, on_flushed=record)
        finally:
            child.stop()
    yield Copied(disk, base, log, read_log(log), bytes(ledger_bytes), marks)


def cuts(entries: Sequence[Entry], marks: Sequence[tuple[int, int]]) -> list[int]:
    """How many entries had been logged: right when the ledger had grown, and at random."""
    chance = random.Random(SEED)
    grown = [sum(1 for entry in entries if entry.end <= logged) for _, logged in chance.choices(marks, k=CUTS // 2)]
    return sorted(grown + chance.choices(range(1, len(entries)), k=CUTS - len(grown)))


def test_every_block_that_the_ledger_names_survives_and_the_image_is_sound(copied: Copied, tmp_path: Path):
    lost = {}
    for number, count in enumerate(cuts(copied.entries, copied.marks)):
        entries, image = copied.entries[:count], tmp_path / f"{number}"
        cut_power(copied.base, copied.log, entries, number, image)
        report = img.check(LocalHost(), str(image))
        assert (report.corruptions, report.check_errors) == (0, 0), f"after {count} writes"
        lost[count] = missing(image, copied.ledger_at(entries), tmp_path / "raw")
    assert not any(lost.values()), f"blocks that the ledger names and the image lacks, by writes logged: {lost}"


def test_a_copy_goes_on_after_the_power_cut(copied: Copied, tmp_path: Path):
    entries = copied.entries[: len(copied.entries) // 2]
    image = tmp_path / "image"
    cut_power(copied.base, copied.log, entries, 1, image)
    done = copied.ledger_at(entries)
    assert done
    with process.temporary_directory() as sockets:
        child = exporter(str(image), Path(sockets))
        try:
            uris = (nbd_server.uri(f"{sockets}/nbd", "disk"),) * CONNECTIONS
            with NbdEndpoint(uris, "target") as target, Digests.create(tmp_path / "digests", SIZE) as digests:
                reader = MemoryEndpoint(copied.source, "source", read_only=True)
                copy(reader, target, digests, stop=threading.Event(), tuning=TUNING, done=done)
        finally:
            child.stop()
    content = memoryview(bytearray(SIZE))
    copied.source.read(0, content)
    assert as_raw(image, tmp_path / "raw").read_bytes() == content


def missing(image: Path, ranges: Sequence[Flushed], raw: Path) -> int:
    """Blocks that are not as the ledger says."""
    content = memoryview(as_raw(image, raw).read_bytes())
    count = 0
    for one in ranges:
        for number, offset in enumerate(range(one.offset, one.end, MiB)):
            block = content[offset : min(offset + MiB, one.end)]
            digest = one.digests[32 * number : 32 * number + 32]
            count += blake3(block).digest() != digest if digest else any(block)
    return count


def as_raw(image: Path, raw: Path) -> Path:
    """By another program than ours."""
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)]
    subprocess.run(argv, check=True, timeout=60)
    return raw
