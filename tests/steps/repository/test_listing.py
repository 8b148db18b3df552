"""What tar delivers is what lies there, whatever it is called; what is damaged on the way is not read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.repository import listing
from steps.repository.listing import Found, Listing, UnreadableError

SMALL = {
    "vm/point/manifest.json": b"{}",
    f"{'v' * 60}/{'p' * 60}/manifest.json": b"a long name",
    "vm/empty": b"",
    "vm/block": bytes(512),
    "vm/z\u00fcrich": "Z\u00fcrich".encode(),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in SMALL.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_small_files_are_read_whole_whatever_their_names(root: Path) -> None:
    (root / "vm/link").symlink_to("empty")
    (root / "vm/same").hardlink_to(root / "vm/block")
    names = [*SMALL, "vm/link", "vm/same"]
    found = Listing({name: Found("f", 1, 0, 0, 0, name) for name in names})
    listing.read_files(LocalHost(), str(root), found, names)
    assert found.contents == {**SMALL, "vm/same": SMALL["vm/block"]}
    assert found.failed.keys() == {"vm/link"}


@pytest.mark.parametrize("at", range(0, 512, 7))
def test_a_damaged_header_is_not_read(root: Path, at: int) -> None:
    """One byte of it; of its checksum, the name, the size, what kind it is."""
    argv = ["tar", "--create", "--format=gnu", "--file=-", "./vm/point/manifest.json"]
    archive = bytearray(subprocess.run(argv, cwd=root, capture_output=True, check=True).stdout)
    assert listing._unpack(str(root), LocalHost(), bytes(archive)) == {"./vm/point/manifest.json": b"{}"}
    archive[at] ^= 0x01
    try:
        found = listing._unpack(str(root), LocalHost(), bytes(archive))
    except UnreadableError:
        return
    assert found == ({"./vm/point/manifest.json": b"{}"} if at in range(154, 156) else {})
