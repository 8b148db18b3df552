"""What is written is read by qemu-img, and compared byte by byte with the disk."""

from __future__ import annotations

import filecmp
import hashlib
import random
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.units import GiB, KiB, MiB, TiB
from steps.stream import writer
from steps.stream.layout import GRAIN, SECTOR
from steps.stream.reader import StreamReader
from steps.stream.writer import Stream, StreamTooLongError, StreamWriter

GRAINS = 600
"""More than a table lists."""

Parts = Iterable[tuple[int, bytes]]


def written(path: Path, capacity: int, parts: Parts, threads: int = 2) -> Stream:
    with path.open("wb") as file, StreamWriter(file.write, capacity, content_id=1, threads=threads) as stream:
        for offset, content in parts:
            stream.put(offset, content)
        return stream.finish()


def raw(path: Path, capacity: int, parts: Parts) -> Path:
    with path.open("wb") as file:
        file.truncate(capacity)
        for offset, content in parts:
            file.seek(offset)
            file.write(content)
    return path


def unpacked_by_qemu(stream: Path) -> Path:
    into = stream.with_suffix(".unpacked")
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", stream, into], check=True, timeout=60)
    return into


def content(seed: int, length: int) -> bytes:
    """Half of it packs well."""
    return random.Random(seed).randbytes(length // 2) + bytes([seed % 255 + 1]) * (length - length // 2)


@st.composite
def disks(draw: st.DrawFn) -> tuple[int, list[tuple[int, bytes]]]:
    """A capacity, often with an odd tail, and parts of content in order: single grains, runs, and the tail."""
    capacity = draw(st.integers(0, GRAINS)) * GRAIN + draw(st.integers(1, GRAIN // SECTOR)) * SECTOR
    last = -(-capacity // GRAIN)
    parts, at = [], 0
    for number in range(draw(st.integers(0, 4))):
        first = draw(st.integers(at, last))
        count = draw(st.integers(1, 20))
        if first >= last:
            break
        at = min(first + count, last)
        part = content(draw(st.integers(0, 99)) + number, min(at * GRAIN, capacity) - first * GRAIN)
        parts.append((first * GRAIN, draw(st.sampled_from([part, bytes(len(part))]))))
    return capacity, parts


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(disk=disks())
def test_qemu_img_and_the_reader_read_the_disk_that_was_written(
    tmp_path: Path, disk: tuple[int, list[tuple[int, bytes]]]
):
    capacity, parts = disk
    reference = raw(tmp_path / "reference", capacity, parts)
    stream = written(tmp_path / "disk.vmdk", capacity, parts)
    assert filecmp.cmp(unpacked_by_qemu(tmp_path / "disk.vmdk"), reference, shallow=False)
    with (tmp_path / "disk.vmdk").open("rb") as file:
        reader = StreamReader(file.read, "the stream")
        assert filecmp.cmp(raw(tmp_path / "read", reader.capacity, reader.grains()), reference, shallow=False)
    whole = (tmp_path / "disk.vmdk").read_bytes()
    assert stream == Stream(len(whole), hashlib.sha1(whole).hexdigest(), hashlib.sha256(whole).hexdigest())


def test_an_empty_disk_is_a_stream_with_an_end_marker(tmp_path: Path):
    """ESXi refuses one without (qemu#1357)."""
    stream = written(tmp_path / "disk.vmdk", 40 * MiB, [])
    assert filecmp.cmp(
        unpacked_by_qemu(tmp_path / "disk.vmdk"), raw(tmp_path / "reference", 40 * MiB, []), shallow=False
    )
    assert (tmp_path / "disk.vmdk").read_bytes()[-SECTOR:] == bytes(SECTOR)
    assert stream.size < 70 * KiB


def test_a_disk_of_62_tib_takes_what_its_content_takes(tmp_path: Path):
    capacity = 62 * TiB - SECTOR
    parts = [(0, content(1, GRAIN)), (5 * GiB, content(2, GRAIN)), (62 * TiB - GRAIN, content(3, GRAIN - SECTOR))]
    assert written(tmp_path / "disk.vmdk", capacity, parts).size < 9 * MiB
    with (tmp_path / "disk.vmdk").open("rb") as file:
        assert list(StreamReader(file.read, "the stream").grains()) == parts
    for offset, expected in parts:
        read = ["qemu-io", "-r", "-f", "vmdk", "-c", f"read -v {offset} {len(expected)}", tmp_path / "disk.vmdk"]
        shown = subprocess.run(read, capture_output=True, check=True, timeout=60).stdout
        assert bytes.fromhex("".join(re.findall(r"^[0-9a-f]+:  (.{48})", shown.decode(), re.M))) == expected


def test_grains_are_stored_in_ascending_order_once_each_and_none_of_zeroes(tmp_path: Path):
    parts = [(0, content(1, 40 * GRAIN)), (40 * GRAIN, bytes(8 * GRAIN)), (500 * GRAIN, content(2, 40 * GRAIN))]
    written(tmp_path / "disk.vmdk", 600 * GRAIN, parts, threads=4)
    with (tmp_path / "disk.vmdk").open("rb") as file:
        numbers = [offset // GRAIN for offset, _ in StreamReader(file.read, "the stream").grains()]
    assert numbers == [*range(40), *range(500, 540)]


def test_the_same_disk_is_the_same_stream_however_many_threads_write_it(tmp_path: Path):
    parts = [(at, content(at // MiB, MiB)) for at in range(0, 40 * MiB, MiB)]
    made = {written(tmp_path / f"{threads}.vmdk", 40 * MiB, parts, threads=threads) for threads in (1, 2, 4)}
    assert len(made) == 1


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(GRAIN, GRAIN, id="again"),
        pytest.param(0, GRAIN, id="backwards"),
        pytest.param(2 * GRAIN + SECTOR, GRAIN, id="within-a-grain"),
        pytest.param(2 * GRAIN, SECTOR, id="half-a-grain"),
        pytest.param(9 * GRAIN, 2 * GRAIN, id="beyond-the-end"),
    ],
)
def test_what_is_no_run_of_grains_in_order_is_refused(offset: int, length: int):
    with StreamWriter(lambda piece: None, 10 * GRAIN, content_id=1) as stream:
        stream.put(0, content(1, 2 * GRAIN))
        with pytest.raises(ValueError, match="bytes"):
            stream.put(offset, bytes(length))


def test_a_stream_beyond_what_its_tables_can_say_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "LARGEST", MiB)
    with StreamWriter(lambda piece: None, 10 * MiB, content_id=1) as stream, pytest.raises(StreamTooLongError):
        for at in range(0, 10 * MiB, MiB):
            stream.put(at, random.Random(at).randbytes(MiB))


def test_what_the_file_refuses_comes_out_of_put_and_no_thread_stays():
    def full(piece: bytes) -> None:
        if len(piece) > MiB:
            raise OSError(28, "No space left on device")

    stream = StreamWriter(full, 40 * MiB, content_id=1, threads=2)
    with stream, pytest.raises(OSError, match="No space"):
        for at in range(0, 40 * MiB, 2 * MiB):
            stream.put(at, random.Random(at).randbytes(2 * MiB))
    with pytest.raises(RuntimeError, match="after shutdown"):
        stream.put(40 * MiB - GRAIN, bytes(GRAIN))


def test_a_put_takes_the_bytes_as_they_are_then(tmp_path: Path):
    """Buffers are used again for what is read next."""
    buffer = bytearray(MiB)
    parts = [(at, content(at // MiB, MiB)) for at in range(0, 12 * MiB, MiB)]
    with (tmp_path / "disk.vmdk").open("wb") as file, StreamWriter(file.write, 12 * MiB, content_id=1) as stream:
        for offset, part in parts:
            buffer[:] = part
            stream.put(offset, memoryview(buffer))
        stream.finish()
    reference = raw(tmp_path / "reference", 12 * MiB, parts)
    assert filecmp.cmp(unpacked_by_qemu(tmp_path / "disk.vmdk"), reference, shallow=False)
