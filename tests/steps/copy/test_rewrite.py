"""Writing a disk that has bytes already: only what differs is written, and only over what it may have."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.units import KiB, MiB
from steps.copy.compare import BlockDifference, compare
from steps.copy.digests import Digests, digest_of
from steps.copy.engine import copy
from steps.copy.extents import BLOCK, PART, gaps
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.rewrite import Rewriting, SourceDamaged, UnknownContent

SIZE = 6 * MiB + 512


class Watched(MemoryDisk):
    """Knows what was written or zeroed."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content))
        for start in range(0, len(content), PART):
            if any(part := content[start : start + PART]):
                super().write(start, part)
        self.touched: list[tuple[int, int]] = []

    def write(self, offset: int, content: memoryview | bytes) -> None:
        assert content, "servers refuse a request of no bytes"
        self.touched.append((offset, offset + len(content)))
        super().write(offset, content)

    def zero(self, offset: int, length: int) -> None:
        assert length > 0, "servers refuse a request of no bytes"
        self.touched.append((offset, offset + length))
        super().zero(offset, length)

    @property
    def content(self) -> bytes:
        into = bytearray(self.size)
        self.read(0, memoryview(into))
        return bytes(into)


def digests_of(path: Path, content: bytes) -> Digests:
    digests = Digests.create(path, len(content))
    for start in range(0, len(content), BLOCK):
        if any(block := content[start : start + BLOCK]):
            digests.put(start, digest_of(block))
    return digests


def parts(content: bytes, other: bytes) -> set[int]:
    """Offsets of the parts of 64 KiB that differ."""
    return {at for at in range(0, len(content), PART) if content[at : at + PART] != other[at : at + PART]}


def rewritten(
    scratch: Path, old: bytes, now: bytes, *, may_have: bytes | None = None, point: bytes | None = None
) -> tuple[Watched, Rewriting]:
    """A disk that has `now`, given what `old` was: by digests of `point`, which is `old` unless it rotted."""
    disk, stop = Watched(now), threading.Event()
    wanted = digests_of(scratch / "wanted", point or old)
    live = MemoryEndpoint(disk, "disk")
    found: list[BlockDifference] = []
    compare(live, wanted, stop=stop, on_difference=found.append)
    source = MemoryEndpoint(Watched(old), "image", read_only=True)
    allowed = None if may_have is None else digests_of(scratch / "may-have", may_have)
    rewriting = Rewriting(source, live, wanted, allowed)
    inherited = gaps(len(old), sorted((one.offset, one.length) for one in found))
    with Digests.create(scratch / "copied", len(old)) as digests:
        for offset, length in inherited:
            digests.put(offset, wanted.get(offset, -(-length // BLOCK)))
        copy(
            rewriting.source,
            rewriting.target,
            digests,
            stop=stop,
            inherited=inherited,
            reading=rewriting.read,
            on_flushed=rewriting.forget,
        )
        assert digests.digest() == wanted.digest()
    return disk, rewriting


WRITES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.sampled_from([1, 512, PART, 700 * KiB, 3 * MiB]), st.booleans()),
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, seed=st.integers(0, 1000))
def test_any_disk_becomes_what_it_was_and_nothing_that_is_right_is_written(
    tmp_path: Path, writes: list[tuple[int, int, bool]], seed: int
) -> None:
    chance = random.Random(seed)
    old = bytearray(chance.randbytes(SIZE))
    old[2 * MiB : 4 * MiB] = bytes(2 * MiB)
    now = bytearray(old)
    for offset, length, is_zero in writes:
        length = min(length, SIZE - offset)
        now[offset : offset + length] = bytes(length) if is_zero else chance.randbytes(length)
    disk, rewriting = rewritten(tmp_path, bytes(old), bytes(now), may_have=bytes(now))
    assert disk.content == bytes(old)
    touched = {part for start, end in disk.touched for part in range(start // PART * PART, end, PART)}
    differing = parts(bytes(old), bytes(now))
    assert touched == differing
    assert rewriting.written == sum(min(PART, SIZE - part) for part in differing)


def test_of_content_between_zeroes_only_the_parts_that_differ_are_written(tmp_path: Path) -> None:
    """Of one block, parts in all four combinations, and an end that fills no part."""
    chance = random.Random(3)
    old, now = bytearray(2 * MiB + 512), bytearray(2 * MiB + 512)
    for number in range(0, 32, 2):
        start = number * PART
        old[start : start + PART] = chance.randbytes(PART)
        if number % 4:
            now[start : start + PART] = old[start : start + PART]
        now[start + PART * (number % 3)] ^= 1
    now[PART : 2 * PART] = chance.randbytes(PART)
    now[-512:] = b"y" * 512
    disk, _ = rewritten(tmp_path, bytes(old), bytes(now))
    assert disk.content == bytes(old)
    touched = {part for start, end in disk.touched for part in range(start // PART * PART, end, PART)}
    assert touched == parts(bytes(old), bytes(now))


def test_a_block_that_is_not_what_the_disk_may_have_is_left_alone(tmp_path: Path) -> None:
    old, saved = random.Random(1).randbytes(3 * MiB), random.Random(2).randbytes(3 * MiB)
    now = bytearray(saved)
    now[MiB + 5] ^= 1
    with pytest.raises(UnknownContent) as caught:
        rewritten(tmp_path, old, bytes(now), may_have=saved)
    assert caught.value.offset == MiB


def test_a_block_of_the_source_that_rotted_is_not_written(tmp_path: Path) -> None:
    point = random.Random(1).randbytes(2 * MiB)
    rotten = bytearray(point)
    rotten[MiB + 5] ^= 1
    now = bytes(2 * MiB)
    with pytest.raises(SourceDamaged) as caught:
        rewritten(tmp_path, bytes(rotten), now, point=point)
    assert caught.value.offset == MiB


def test_a_comparison_that_is_to_find_all_tells_each_difference_and_goes_on(tmp_path: Path) -> None:
    wanted = digests_of(tmp_path / "wanted", bytes(4 * MiB))
    disk = Watched(bytes(MiB) + b"x" + bytes(2 * MiB - 1) + b"y" * MiB)
    found: list[int] = []
    seen = compare(
        MemoryEndpoint(disk, "disk"), wanted, stop=threading.Event(), on_difference=lambda one: found.append(one.offset)
    )
    assert sorted(found) == [MiB, 3 * MiB]
    assert seen.compared == 4
