"""The boot sectors do what they say, in a QEMU without any of ours: what stands on one that does nothing proves nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.guests.boot_sectors import SECTOR, disk, sector, summed

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")


@contextmanager
def booted(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """QEMU, and the file that its first serial port writes to."""
    said = path.with_suffix(".serial")
    argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32", "-device", "pvscsi"]
    argv += ["-drive", f"file={path},format=raw,if=none,id=disk", "-device", "scsi-hd,drive=disk"]
    with subprocess.Popen([*argv, "-serial", f"file:{said}"]) as qemu:
        try:
            assert eventually(said.exists, 60)
            yield qemu, said
        finally:
            qemu.kill()


def test_text_is_printed_byte_for_byte(tmp_path):
    text = 'é "login":\\ %d\r\n'
    with booted(disk(tmp_path / "disk.raw", sector("prints", text))) as (qemu, said):
        assert eventually(lambda: said.read_bytes() == text.encode(), 60)
        assert qemu.poll() is None, "it turned itself off"


def test_the_sum_of_sectors_is_that_of_their_bytes(tmp_path):
    content = random.Random(1).randbytes(9 * SECTOR)
    path = disk(tmp_path / "disk.raw", sector("sums", "\n", lba=1, times=9) + content)
    with booted(path) as (_, said):
        assert eventually(lambda: said.read_text() == f"{summed(content)}\n", 60)


def test_what_it_writes_is_where_it_was_told_to_and_no_more(tmp_path):
    path = disk(tmp_path / "disk.raw", sector("writes", "done", lba=8, times=2))
    before = path.read_bytes()
    with booted(path) as (_, said):
        assert eventually(lambda: said.read_text() == "done", 60)
    written = 2 * 127 * SECTOR
    assert path.read_bytes() == before[: 8 * SECTOR] + b"\x5a" * written + before[8 * SECTOR + written :]


def test_it_turns_the_machine_off(tmp_path):
    with booted(disk(tmp_path / "disk.raw", sector("powers-off"))) as (qemu, _):
        assert qemu.wait(60) == 0


def test_it_restarts_and_restarts(tmp_path):
    with booted(disk(tmp_path / "disk.raw", sector("reboots", "again\n"))) as (_, said):
        assert eventually(lambda: said.read_text().count("again") > 2, 60)
