"""Of blocks that are content only in part, what real servers are asked for, and what a kill leaves of them."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from steps.copy.compare import compare
from steps.copy.digests import Digests
from steps.copy.endpoint import RequestFailed
from steps.copy.engine import Copy, Tuning, copy
from steps.copy.ledger import Flushed
from steps.copy.nbd_endpoint import NbdEndpoint
from tests.nbd_servers import Server, Servers, qcow2, raw

SIZE = 24 * MiB + 512
RUNS = [
    (3 * KiB, 5 * KiB),
    (MiB - 8 * KiB, 12 * KiB),
    (5 * MiB + 700 * KiB, 4 * MiB),
    (12 * MiB + 100 * KiB, 4 * KiB),
    (12 * MiB + 900 * KiB, 60 * KiB),
    (SIZE - 512, 512),
]
"""(offset, length) of what was written to the disk; file systems have pages of 4 KiB."""
CONTENT = 4 * MiB + 6 * 64 * KiB + 512
"""Bytes of the parts of 64 KiB that `RUNS` touch."""


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers() as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = raw(tmp_path / "disk.raw", SIZE)
    with path.open("r+b") as file:
        for offset, length in RUNS:
            file.seek(offset)
            file.write(random.Random(offset).randbytes(length))
    return path


def transfer(source: Server, target: Server, digests: Digests, **how: object) -> Copy:
    with NbdEndpoint([source.uri] * 2, "source") as reader, NbdEndpoint([target.uri] * 2, "target") as writer:
        return copy(reader, writer, digests, **{"stop": threading.Event(), **how})  # type: ignore[arg-type]


def moved(log: Path, verb: str) -> int:
    """Bytes that nbdkit was asked to read or write."""
    asked = re.findall(rf" {verb} id=\d+ offset=0x[0-9a-f]+ count=0x([0-9a-f]+)", log.read_text())
    return sum(int(count, 16) for count in asked)


def assert_equal(image: Path, disk: Path) -> None:
    argv = ("qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", str(image), str(disk))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_servers_are_asked_to_read_and_write_content_only(servers: Servers, disk: Path, tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("source.log", "target.log")]
    image = raw(tmp_path / "image.raw", SIZE)
    source = servers.nbdkit("-r", "--filter=log", "file", str(disk), f"logfile={logs[0]}")
    target = servers.nbdkit("--filter=log", "file", str(image), f"logfile={logs[1]}")
    with Digests.create(tmp_path / "digests", SIZE) as digests:
        done = transfer(source, target, digests)
        assert image.read_bytes() == disk.read_bytes()
        assert moved(logs[0], "Read") == done.progress.read == CONTENT
        assert moved(logs[1], "Write") == done.progress.data == CONTENT
        with NbdEndpoint([target.uri], "image") as written:
            compare(written, digests, stop=threading.Event())
        assert moved(logs[1], "Read") == CONTENT


def test_an_image_stores_no_more_than_the_content(servers: Servers, disk: Path, tmp_path: Path) -> None:
    """Also where the source tells no extents."""
    image = qcow2(tmp_path / "image.qcow2", SIZE)
    source = servers.nbdkit("-r", "--filter=noextents", "file", str(disk))
    with Digests.create(tmp_path / "digests", SIZE) as digests:
        done = transfer(source, servers.qemu_nbd(image, "qcow2"), digests)
    assert (done.progress.read, done.progress.data) == (SIZE, CONTENT)
    assert_equal(image, disk)


@pytest.mark.parametrize("backed", [False, True], ids=["full", "on-a-backing-file"])
@pytest.mark.parametrize("requests", [3, 7, 9])
def test_a_copy_killed_within_a_block_is_resumed_to_the_same_bytes(
    servers: Servers, disk: Path, tmp_path: Path, backed: bool, requests: int
) -> None:
    """The backing file has other bytes where the disk has holes; the server dies after so many requests."""
    image = tmp_path / "image.qcow2"
    if backed:
        base = qcow2(tmp_path / "base.qcow2", SIZE)
        subprocess.run(
            ("qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {SIZE - 512}", str(base)), check=True, timeout=30
        )
        qcow2(image, SIZE, "-b", "base.qcow2", "-F", "qcow2")
    else:
        qcow2(image, SIZE)
    source, target = servers.nbdkit("-r", "file", str(disk)), servers.qemu_nbd(image, "qcow2")
    safe: list[Flushed] = []
    with NbdEndpoint([source.uri], "source") as reader, NbdEndpoint([target.uri], "target") as writer:
        (channel,) = writer.channels
        issue, left = channel._submit, requests

        def submit(verb, offset, length, *rest):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= verb in ("write", "zero")
            if left < 0:
                target.process.send_signal(signal.SIGKILL)
                target.process.wait(10)
            issue(verb, offset, length, *rest)

        channel._submit = submit  # type: ignore[method-assign]
        with Digests.create(tmp_path / "killed", SIZE) as digests, pytest.raises(RequestFailed):
            copy(
                reader,
                writer,
                digests,
                stop=threading.Event(),
                tuning=Tuning(in_flight=2, window=2 * MiB),
                on_flushed=safe.extend,
            )
    again = servers.qemu_nbd(image, "qcow2")
    with Digests.create(tmp_path / "digests", SIZE) as digests:
        done = transfer(source, again, digests, done=safe)
        assert done.progress.done == SIZE
        again.process.terminate()
        again.process.wait(10)
        assert_equal(image, disk)
        with NbdEndpoint([servers.qemu_nbd(image, "qcow2", "--read-only").uri], "image") as written:
            compare(written, digests, stop=threading.Event())
