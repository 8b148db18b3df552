"""What is on a disk is read on the host that boots it, as QEMU reads it there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.base.units import KiB, MiB
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.boot import overlays
from steps.efi.disk_content import reader
from tests.nbd_servers import Servers

HERE = LocalHost("local")
CONTENT = random.Random(1).randbytes(2 * MiB + 64 * KiB)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers() as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk, with a 'name'.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 512), (MiB - 100, 200), (MiB - 1, MiB + 2), (len(CONTENT) - 512, 512), (0, len(CONTENT))],
)
def test_its_bytes_are_those_of_the_file(disk: Path, tmp_path: Path, offset: int, length: int) -> None:
    read = reader(HERE, overlays.source_node(str(disk)), len(CONTENT), str(tmp_path))
    assert read(offset, length) == CONTENT[offset : offset + length]


def test_one_that_is_served_is_read_on_the_host_and_each_part_once(
    disk: Path, tmp_path: Path, servers: Servers, ssh_host: Host
) -> None:
    server = servers.qemu_nbd(disk, "raw", "--read-only")
    read = reader(ssh_host, overlays.source_node(server.uri), len(CONTENT), str(tmp_path))
    assert read(0, 512) == CONTENT[:512]
    server.process.kill()
    server.process.wait()
    assert read(512, 16 * KiB) == CONTENT[512 : 512 + 16 * KiB]
    with pytest.raises(SendenseError, match=r"qemu-img convert .* on hub failed"):
        read(MiB, 512)


def test_a_disk_that_is_shorter_than_it_should_be_is_an_error(disk: Path, tmp_path: Path) -> None:
    read = reader(HERE, overlays.source_node(str(disk)), 3 * MiB, str(tmp_path))
    with pytest.raises(SendenseError, match="qemu-img convert"):
        read(2 * MiB, 512)
