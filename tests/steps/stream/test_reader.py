"""Streams of others are read, and damaged ones refused."""

from __future__ import annotations

import filecmp
import io
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.units import MiB
from steps.stream.layout import END, GRAIN, GRAIN_MARKER, MARKER, OVERHEAD, SECTOR
from steps.stream.reader import StreamDamagedError, StreamReader
from steps.stream.writer import StreamWriter

CAPACITY = 3 * MiB + SECTOR
FIRST = OVERHEAD * SECTOR
"""Where the first grain is."""


def stream_of(capacity: int = CAPACITY) -> bytes:
    into = io.BytesIO()
    with StreamWriter(into.write, capacity, content_id=1) as stream:
        stream.put(0, random.Random(1).randbytes(MiB))
        stream.put(2 * MiB, b"tail" * ((capacity - 2 * MiB) // 4))
        stream.finish()
    return into.getvalue()


STREAM = stream_of()


def read(stream: bytes) -> list[tuple[int, bytes]]:
    return list(StreamReader(io.BytesIO(stream).read, "the stream").grains())


def test_a_stream_of_qemu_img_is_read(tmp_path: Path):
    """Its tables stand first, and there is no footer."""
    disk, stream = tmp_path / "disk", tmp_path / "disk.vmdk"
    with disk.open("wb") as file:
        file.write(random.Random(1).randbytes(MiB))
        file.seek(33 * MiB)
        file.write(b"tail" * (SECTOR // 4))
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", disk, stream]
    subprocess.run(convert, check=True, timeout=60)
    with stream.open("rb") as file, (tmp_path / "read").open("wb") as into:
        reader = StreamReader(file.read, "the stream")
        into.truncate(reader.capacity)
        for offset, grain in reader.grains():
            into.seek(offset)
            into.write(grain)
    assert filecmp.cmp(tmp_path / "read", disk, shallow=False)


def test_it_takes_pieces_as_small_as_they_come():
    source = io.BytesIO(STREAM)
    assert list(StreamReader(lambda length: source.read(min(length, 100)), "the stream").grains()) == read(STREAM)


@pytest.mark.parametrize("length", [0, 100, FIRST, FIRST + SECTOR, len(STREAM) - 600, len(STREAM) - SECTOR])
def test_a_stream_that_was_cut_off_is_refused(length: int):
    with pytest.raises(StreamDamagedError, match=f"the stream is damaged at byte {length}: it ends there"):
        read(STREAM[:length])


def changed(at: int, content: bytes) -> bytes:
    return STREAM[:at] + content + STREAM[at + len(content) :]


def without_the_first_grain(stream: bytes) -> bytes:
    _, size = GRAIN_MARKER.unpack_from(stream, FIRST)
    length = -(-(GRAIN_MARKER.size + size) // SECTOR) * SECTOR
    return stream[:FIRST] + stream[FIRST + length :]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        pytest.param(changed(0, b"COWD"), "does not begin as a sparse VMDK", id="magic"),
        pytest.param(changed(4, struct.pack("<I", 4)), "version 4", id="version"),
        pytest.param(changed(8, struct.pack("<I", 3)), "no stream of compressed grains", id="flags"),
        pytest.param(changed(73, b"\r"), "line ends", id="as-text"),
        pytest.param(changed(20, struct.pack("<Q", 100)), "grains of 100 sectors", id="grain-size"),
        pytest.param(changed(20, struct.pack("<Q", 1 << 40)), "grains of", id="large-grains"),
        pytest.param(changed(64, struct.pack("<Q", 0)), "first grain at sector 0", id="overhead"),
        pytest.param(changed(FIRST, struct.pack("<Q", 1 << 62)), "grain of offset", id="beyond-the-disk"),
        pytest.param(changed(FIRST, struct.pack("<Q", 1)), "grain of offset 512", id="within-a-grain"),
        pytest.param(changed(FIRST, struct.pack("<Q", 1024)), "or a later one is due", id="order"),
        pytest.param(changed(FIRST + 8, struct.pack("<I", 1 << 31)), "compressed bytes", id="large-grain"),
        pytest.param(changed(FIRST + 12, b"\0\0"), "does not unpack", id="no-zlib"),
        pytest.param(changed(FIRST + 2000, b"\0" * 64), "does not unpack", id="checksum"),
        pytest.param(STREAM[:FIRST] + MARKER.pack(0, 0, 7) + STREAM[FIRST:], "neither a grain nor", id="marker"),
        pytest.param(STREAM[:FIRST] + MARKER.pack(9, 0, END) + STREAM[FIRST:], "neither a grain nor", id="end"),
    ],
)
def test_a_damaged_stream_is_refused(stream: bytes, why: str):
    with pytest.raises(StreamDamagedError, match=why):
        read(stream)


def packed(content: bytes) -> bytes:
    from isal import isal_zlib

    grain = isal_zlib.compress(content, 1)
    whole = GRAIN_MARKER.pack(0, len(grain)) + grain
    return STREAM[:FIRST] + whole.ljust(-(-len(whole) // SECTOR) * SECTOR, b"\0") + MARKER.pack(0, 0, END)


@pytest.mark.parametrize("length", [GRAIN - 1, GRAIN + 1, 64 * MiB])
def test_a_grain_that_unpacks_to_another_length_is_refused_before_it_takes_memory(length: int):
    assert read(packed(bytes(GRAIN))) == [(0, bytes(GRAIN))]
    with pytest.raises(StreamDamagedError, match="does not unpack to 65536 bytes"):
        read(packed(bytes(length)))


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(STREAM) - 1), content=st.binary(min_size=1, max_size=16))
def test_whatever_is_changed_in_it_a_stream_is_refused_or_gives_grains_in_order(at: int, content: bytes):
    try:
        grains = read(changed(at, content))
    except StreamDamagedError:
        return
    offsets = [offset for offset, _ in grains]
    assert offsets == sorted(set(offsets))
