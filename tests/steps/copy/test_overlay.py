"""Copies onto a parent: only what changed is written, and what is called unchanged is what the parent has."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.units import KiB, MiB
from steps.copy.changes import CLUSTER, Changes, spread
from steps.copy.digests import Digests, digest_of
from steps.copy.engine import copy
from steps.copy.extents import BLOCK, gaps
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.overlay import Overlay, UntouchedDiffers

SIZE = 6 * MiB + 512


def whole(disk: MemoryDisk) -> bytes:
    content = bytearray(disk.size)
    disk.read(0, memoryview(content))
    return bytes(content)


def disk_with(content: bytes) -> MemoryDisk:
    made = MemoryDisk(len(content))
    made.write(0, content)
    return made


class Watched(MemoryDisk):
    """Knows which bytes were written or zeroed."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content))
        super().write(0, content)
        self.touched: list[tuple[int, int]] = []

    def write(self, offset: int, content: memoryview | bytes) -> None:
        self.touched.append((offset, offset + len(content)))
        super().write(offset, content)

    def zero(self, offset: int, length: int) -> None:
        self.touched.append((offset, offset + length))
        super().zero(offset, length)


def onto(parent: bytes, source: bytes, areas: list[tuple[int, int]], scratch: Path) -> tuple[Watched, Digests]:
    changes, target = Changes(areas, len(source)), Watched(parent)
    digests = Digests.create(scratch / "digests", len(source))
    inherited = gaps(len(source), changes.blocks())
    for offset, length in inherited:
        for start in range(offset, offset + length, BLOCK):
            block = parent[start : start + BLOCK]
            digests.put(start, digest_of(block) if any(block) else bytes(32))
    copy(
        MemoryEndpoint(disk_with(source), "source", connections=2, read_only=True),
        Overlay(MemoryEndpoint(target, "image", connections=2), changes),
        digests,
        stop=threading.Event(),
        inherited=inherited,
    )
    return target, digests


WRITES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.sampled_from([1, 512, 64 * KiB, 700 * KiB, 3 * MiB]), st.booleans()),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, seed=st.integers(0, 1000), holes=st.booleans())
def test_any_writes_arrive_and_nothing_else_is_touched(
    tmp_path: Path, writes: list[tuple[int, int, bool]], seed: int, holes: bool
) -> None:
    chance = random.Random(seed)
    parent = bytearray(chance.randbytes(SIZE))
    if holes:
        parent[MiB : 4 * MiB] = bytes(3 * MiB)
    source = bytearray(parent)
    areas = []
    for offset, length, is_zero in sorted(writes):
        length = min(length, SIZE - offset)
        source[offset : offset + length] = bytes(length) if is_zero else chance.randbytes(length)
        areas.append((offset, length))
    target, digests = onto(bytes(parent), bytes(source), areas, tmp_path)
    with digests:
        assert whole(target) == source
        for block in range(0, SIZE, BLOCK):
            assert digests.expected(block) == digest_of(bytes(source[block : block + BLOCK]))
    changed = {
        number for offset, length in areas for number in range(offset // CLUSTER, -(-(offset + length) // CLUSTER))
    }
    touched = {number for start, end in target.touched for number in range(start // CLUSTER, -(-end // CLUSTER))}
    assert touched <= changed


@pytest.mark.parametrize("became", ["content", "zero block"])
def test_a_forgotten_write_beside_one_that_was_told_is_found(tmp_path: Path, became: str) -> None:
    parent = random.Random(1).randbytes(SIZE)
    source = bytearray(parent)
    source[2 * MiB : 2 * MiB + 10] = b"told here."
    if became == "content":
        source[2 * MiB + 640 * KiB] ^= 1
    else:
        source[2 * MiB : 3 * MiB] = bytes(MiB)
    with pytest.raises(UntouchedDiffers) as found:
        onto(parent, bytes(source), [(2 * MiB, 10)], tmp_path)
    assert found.value.offset == 2 * MiB + 64 * KiB


def test_a_block_without_changes_is_not_written_even_if_it_is_handed_over(tmp_path: Path) -> None:
    target = Watched(bytes(SIZE))
    overlay = Overlay(MemoryEndpoint(target, "image"), Changes([], SIZE))
    ended: list[object] = []
    overlay.channels[0].write(0, memoryview(bytes(MiB)), ended.append)
    while not ended:
        overlay.channels[0].advance(0)
    assert (ended, target.touched) == ([None], [])


RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=8)


@given(ranges=RANGES, blocks=st.integers(1, 400), share=st.sampled_from([None, 0.005, 0.3, 1.0]))
def test_a_sample_is_spread_over_all_that_is_outside_and_the_same_for_one_seed(
    ranges: list[tuple[int, int]], blocks: int, share: float | None
) -> None:
    capacity = blocks * BLOCK - 512
    inside = [(start * BLOCK, length * BLOCK) for start, length in ranges if start < blocks]
    forbidden = {at for start, length in inside for at in range(start, min(start + length, capacity), BLOCK)}
    free = sorted(set(range(0, capacity, BLOCK)) - forbidden)

    def drawn() -> list[int]:
        return spread(inside, capacity, seed="a", share=share, one_in=200, least=20, most=30)

    found = drawn()
    assert found == drawn() == sorted(set(found))
    assert set(found) <= set(free)
    wanted = len(free) if share == 1.0 else max(20, len(free) // 200 if share is None else len(free) * share)
    assert min(len(free), wanted) <= len(found) <= min(len(free), wanted + 1)
    assert share != 1.0 or found == free
    for number, block in enumerate(found):  # one from each of as many equal parts
        assert number * len(free) // len(found) <= free.index(block) < (number + 1) * len(free) // len(found)
