"""The lines of `sendense help restore` that restore and check without this program, as they stand there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from runner.base.units import MiB
from tests.chains import full, incremental, qemu
from tests.hub import Hub, disk
from tests.pages import ROOT, blocks, commands

PAGE = ROOT / "templates" / "help" / "restore.md"


def lines(restored: Path) -> list[str]:
    found = [command.line for block in blocks(PAGE) if "in=point" in block.remark for command in commands(block)]
    return [line.replace("/restore/", f"{restored}/") for line in found]


def test_its_lines_restore_an_incremental_in_a_repository_that_was_moved(hub: Hub, tmp_path: Path):
    first = full(hub, tmp_path / "references", disk(2000, 4 * MiB))
    point = incremental(first, tmp_path / "references", seed=1)
    moved = tmp_path / "elsewhere"
    shutil.move(hub.root, moved)
    there = moved / point.point.relative_to(hub.root)
    found = lines(tmp_path)
    assert [line.split()[0] for line in found] == ["qemu-img", "qemu-img", "qemu-img", "grep", "test"]
    for line in found:
        done = subprocess.run(["sh", "-c", line], cwd=there, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    for form in ("raw", "qcow2", "vmdk"):
        said = qemu("qemu-img", "compare", "-f", form, "-F", "raw", tmp_path / f"disk.{form}", point.disks[2000])
        assert said == "Images are identical.\n"


def test_a_digests_file_that_changed_fails_the_line(hub: Hub, tmp_path: Path):
    point = full(hub, tmp_path / "references", disk(2000, 4 * MiB)).point
    qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", point / "disk-2000.qcow2", tmp_path / "disk.raw")
    digests = bytearray((point / "disk-2000.blake3").read_bytes())
    digests[3] ^= 1
    (point / "disk-2000.blake3").write_bytes(digests)
    for line in lines(tmp_path)[3:]:
        assert (
            subprocess.run(["sh", "-c", line], cwd=point, capture_output=True, timeout=60, check=False).returncode == 1
        )
