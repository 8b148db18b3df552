"""Prune where files can share blocks: on a btrfs and an XFS of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from runner.hosts.local import LocalHost
from steps.points import retention_plan
from steps.points.sharing import can_share, may_share, nightly, told, unshared
from steps.repository import reader
from steps.repository.retention import Policy
from tests.chain import BRAKE, NOW, Chain, prune
from tests.hub import Hub, hub_on

SIZE = 512 * MiB
"""Of the file system: mkfs.xfs makes none below 300 MiB. The file it is in has holes."""

CAPACITY = 16 * MiB


def needed(*argv: str | Path) -> None:
    """Runs it; the test is skipped with its words where it fails."""
    if shutil.which(str(argv[0])) is None:
        pytest.skip(f"{argv[0]} is not installed here")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"{argv[0]} is not allowed here: {done.stderr.strip()}")


@pytest.fixture(params=["btrfs", "xfs"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    """A repository on such a file system."""
    with on_a_file_system(tmp_path, str(request.param)) as opened:
        yield opened


@contextmanager
def on_a_file_system(tmp_path: Path, kind: str, *how: str) -> Iterator[Hub]:
    file, place = tmp_path / "file-system", tmp_path / "mounted"
    with file.open("wb") as made:
        made.truncate(SIZE)
    place.mkdir()
    needed(f"mkfs.{kind}", "-q", *how, file)
    needed("mount", "-o", "loop", "-t", kind, file, place)
    try:
        with hub_on(LocalHost("hub"), str(place), tmp_path) as opened:
            yield opened
    finally:
        subprocess.run(["umount", place], check=True, timeout=120)


def used(place: Path) -> int:
    """Bytes of the file system, once all is written."""
    subprocess.run(["sync", "-f", place], check=True, timeout=120)
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_point_that_becomes_a_full_shares_the_blocks_of_the_full_below_it(sharing: Hub) -> None:
    assert may_share(sharing.host, sharing.root)
    assert can_share(sharing.host, sharing.root)
    assert unshared(sharing.host, sharing.root) == ""
    made = Chain(Path(sharing.root), capacity=CAPACITY)
    made.add({2000: None}, {2000: ((0, 15 * MiB, 1),)})
    made.add({2000: 0}, {2000: ((MiB, 200 * KiB, 2),)})
    made.add({2000: 1}, {2000: ((MiB + 64 * KiB, 512, 3), (10 * MiB, MiB, 0))})
    before = used(made.directory)
    pruned = prune(sharing, made, max_chain=2)
    assert used(made.directory) - before < CAPACITY // 4
    assert pruned.rebuilt == (f"disk 2000 of {made.points[2]} is now a full; it was backed by {made.points[1]}",)
    assert made.whole() == set(made.points)
    # The other way round: what was shared stays when the full goes, and so does what the points above it hold.
    prune(sharing, made, keep_last=1)
    assert made.whole() == {made.points[2]}
    assert used(made.directory) - before < CAPACITY // 4


def test_an_xfs_that_was_made_without_shared_blocks_is_known_by_looking(tmp_path: Path) -> None:
    with on_a_file_system(tmp_path, "xfs", "-m", "reflink=0") as plain:
        assert not may_share(plain.host, f"{plain.root}/")
        assert not can_share(plain.host, plain.root)
        assert "files on this XFS, which was made without reflink, cannot share blocks" in unshared(
            plain.host, plain.root
        )


def test_what_a_night_copies_is_what_the_prune_of_the_oldest_point_copies(tmp_path: Path) -> None:
    with on_a_file_system(tmp_path, "ext4") as plain:
        made = Chain(Path(plain.root), capacity=CAPACITY)
        made.add({2000: None, 2001: None}, {2000: ((0, 8 * MiB, 1),), 2001: ((0, 2 * MiB, 1),)})
        vms = reader.read_all(plain.host, plain.root).vms
        assert told(nightly(vms.values())) == "no chain here begins with a full that others are backed by yet"
        made.add({2000: 0, 2001: None}, {2000: ((MiB, 200 * KiB, 2),)})
        vms = reader.read_all(plain.host, plain.root).vms
        plan = retention_plan.plan_of(plain.host, *vms.values(), Policy(keep_last=1), NOW, shares=False, brake=BRAKE)
        night = nightly(vms.values())
        assert (night.vms, night.bytes) == (1, plan.work.copied)
        assert night.bytes > 8 * MiB
        assert "files on ext4 cannot share blocks" in unshared(plain.host, plain.root)
