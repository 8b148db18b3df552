"""What must hold once a run that was killed is done, wherever it was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from blake3 import blake3

from runner.base.units import MiB
from runner.hosts.files import TEMPORARY_PREFIX
from tests.e2e.site import Site
from tests.eventually import eventually
from tests.faults.disks import KEYS, WINDOW
from tests.faults.victims import made, of_this, sessions

PROBES = 4096
"""Bytes that looking whether a file can be read takes, a byte at a time."""

QUIET = 30.0
"""Seconds for what a dead run left to notice that. sshd ends a session whose connection broke at once."""


@dataclass(frozen=True)
class Before:
    """As it was before the first run."""

    points: frozenset[Path]
    served: dict[int, int]
    created: int

    @classmethod
    def of(cls, site: Site, vm: str = "vm") -> Before:
        status = site.lab.status()
        served = {key: status["served"].get(str(site.source(vm, key)), 0) for key in KEYS}
        return cls(frozenset(site.points()), served, status["calls"].get("CreateSnapshot_Task", 0))


def assert_one_right_point(site: Site, before: Before, vm: str = "vm") -> Path:
    points = set(site.points()) - before.points
    assert len(points) == 1, f"{len(points)} restore points: {sorted(points)}"
    (point,) = points
    assert site.images_equal_sources(vm, point, KEYS)
    manifest = json.loads((point / "manifest.json").read_text())
    files = {f"disk-{key}.{kind}" for key in KEYS for kind in ("qcow2", "blake3")}
    assert {path.name for path in point.iterdir()} == {"manifest.json", "vm", *files}
    digests = {disk["key"]: (disk["digest"], (point / disk["digests"]).read_bytes()) for disk in manifest["disks"]}
    assert set(digests) == set(KEYS)
    for key, (digest, entries) in digests.items():
        source = site.source(vm, key)
        assert entries == entries_of(source, source.stat().st_mtime_ns), f"digests of disk {key}"
        assert digest == blake3(entries).hexdigest()
    return point


def assert_nothing_left(site: Site, directory: Path) -> None:
    assert site.snapshots() == []
    assert site.partials() == []
    assert list(site.directory.rglob(f"{TEMPORARY_PREFIX}*")) == []
    assert_no_process_left(site, directory)


def assert_no_process_left(site: Site, directory: Path) -> None:
    """What a run must not leave though it is not done: it may hold its snapshot and what it copied."""
    eventually(lambda: next(left(site, directory), None) is None, QUIET)
    assert list(left(site, directory)) == []


def left(site: Site, directory: Path) -> Iterator[str]:
    """Temporary directories with all that is in them, sessions of the hub's sshd, processes."""
    yield from (f"directory {path}" for path in made(directory) if Path(path).exists())
    yield from (f"session {pid} of the hub's sshd" for pid in sessions(site))
    yield from (f"process {pid}: {' '.join(argv)}" for pid, argv in of_this(site, directory))


def read_twice(site: Site, before: Before, vm: str = "vm") -> dict[int, int]:
    """Bytes of each disk that the vCenter sent more than once: without extents, once is all of it."""
    now = Before.of(site, vm).served
    return {key: now[key] - before.served[key] - site.source(vm, key).stat().st_size for key in KEYS}


def assert_within_window(site: Site, before: Before, kills: int) -> None:
    twice = read_twice(site, before)
    assert all(0 <= bytes_ <= kills * WINDOW + PROBES for bytes_ in twice.values()), (
        f"{twice} after {kills} kills, {WINDOW=}"
    )


@lru_cache(maxsize=len(KEYS))
def entries_of(source: Path, changed: int) -> bytes:
    """The digests file of a disk, from its raw file as it was `changed` (ns)."""
    entries = bytearray()
    with source.open("rb") as file:
        while block := file.read(MiB):
            entries += blake3(block).digest() if any(block) else bytes(32)
    return bytes(entries)
