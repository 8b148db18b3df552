"""Copies onto a parent: only what changed is written, and what is called unchanged is what the parent has."""

from __future__ import annotations

import random
import threading
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.errors import Interrupted
from runner.base.units import KiB, MiB
from steps.copy.changes import CLUSTER, Changes, spread
from steps.copy.digests import Digests, digest_of
from steps.copy.endpoint import Done
from steps.copy.engine import Tuning, copy
from steps.copy.extents import BLOCK, Extent, gaps
from steps.copy.ledger import Flushed
from steps.copy.memory import MemoryChannel, MemoryDisk, MemoryEndpoint
from steps.copy.overlay import Overlay, UntouchedDiffers
from steps.copy.patch import Patching

SIZE = 6 * MiB + 512


def whole(disk: MemoryDisk) -> bytes:
    content = bytearray(disk.size)
    MemoryDisk.read(disk, 0, memoryview(content))
    return bytes(content)


class Watched(MemoryDisk):
    """Knows which bytes were read, and which were written or zeroed. Clusters of zeroes are holes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content))
        for start in range(0, len(content), CLUSTER):
            cluster = content[start : start + CLUSTER]
            if any(cluster):
                super().write(start, cluster)
        self.reads: list[tuple[int, int]] = []
        self.touched: list[tuple[int, int]] = []

    def read(self, offset: int, into: memoryview) -> None:
        self.reads.append((offset, offset + len(into)))
        super().read(offset, into)

    def write(self, offset: int, content: memoryview | bytes) -> None:
        self.touched.append((offset, offset + len(content)))
        super().write(offset, content)

    def zero(self, offset: int, length: int) -> None:
        self.touched.append((offset, offset + length))
        super().zero(offset, length)

    @property
    def bytes_read(self) -> int:
        return sum(end - start for start, end in self.reads)


def digests_of(path: Path, content: bytes) -> Digests:
    digests = Digests.create(path, len(content))
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        if any(block):
            digests.put(start, digest_of(block))
    return digests


class Onto:
    """Copies of a source onto a parent, told what changed in it. `image` reads as the parent, or as what a copy before left
    of it."""

    def __init__(
        self, parent: bytes, source: bytes, areas: list[tuple[int, int]], scratch: Path, image: bytes = b""
    ) -> None:
        self.source, self.image = Watched(source), Watched(image or parent)
        self.changes = Changes(areas, len(source))
        self.before = digests_of(scratch / "before", parent)
        self.scratch = scratch

    def copy(self, sample: Container[int] = (), **how: Any) -> Digests:
        reader = MemoryEndpoint(self.source, "source", connections=2, read_only=True)
        target = Overlay(MemoryEndpoint(self.image, "image", connections=2), self.changes)
        self.patching = Patching(reader, target, self.changes, self.before, sample)
        digests = Digests.create(self.scratch / "digests", self.source.size)
        how.setdefault("stop", threading.Event())
        inherited = gaps(self.source.size, self.changes.blocks())
        for offset, length in inherited:
            digests.put(offset, self.before.get(offset, -(-length // BLOCK)))
        done = copy(
            reader,
            target,
            digests,
            inherited=inherited,
            reading=self.patching.read,
            **how,
        )
        assert done.progress.read == self.source.bytes_read
        return digests

    def assert_right(self, digests: Digests) -> None:
        content = whole(self.source)
        assert whole(self.image) == content
        for block in range(0, len(content), BLOCK):
            assert digests.expected(block) == digest_of(content[block : block + BLOCK])


def clusters(ranges: Iterable[tuple[int, int]]) -> set[int]:
    """The numbers of those that (start, end) touch."""
    return {number for start, end in ranges for number in range(start // CLUSTER, -(-end // CLUSTER))}


CLUSTERS = st.integers(0, SIZE // CLUSTER).map(lambda number: number * CLUSTER)
WRITES = st.lists(
    st.tuples(
        st.integers(0, SIZE - 1) | CLUSTERS, st.sampled_from([1, 512, 64 * KiB, 700 * KiB, 3 * MiB]), st.booleans()
    ),
    max_size=6,
)
HOLES = st.lists(st.tuples(CLUSTERS, st.sampled_from([CLUSTER, 5 * CLUSTER, BLOCK, 3 * BLOCK])), max_size=5)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=WRITES,
    seed=st.integers(0, 1000),
    holes=HOLES,
    sample=st.sets(st.sampled_from(range(0, SIZE, BLOCK))),
    left=st.sampled_from([0, 0, 0, 50]),
)
def test_any_writes_arrive_and_no_more_is_read_or_touched_than_changed(
    tmp_path: Path,
    writes: list[tuple[int, int, bool]],
    seed: int,
    holes: list[tuple[int, int]],
    sample: set[int],
    left: int,
) -> None:
    """Also where a copy before wrote a part of it and was killed before its ledger knew: `left` % of the changed clusters."""
    chance = random.Random(seed)
    parent = bytearray(chance.randbytes(SIZE))
    for offset, length in holes:
        length = min(length, SIZE - offset)
        parent[offset : offset + length] = bytes(length)
    source = bytearray(parent)
    areas = []
    for offset, length, is_zero in sorted(writes):
        length = min(length, SIZE - offset)
        source[offset : offset + length] = bytes(length) if is_zero else chance.randbytes(length)
        areas.append((offset, length))
    image, changed = bytearray(parent), clusters((offset, offset + length) for offset, length in areas)
    for number in changed:
        if chance.randrange(100) < left:
            image[number * CLUSTER : (number + 1) * CLUSTER] = source[number * CLUSTER : (number + 1) * CLUSTER]
    onto = Onto(bytes(parent), bytes(source), areas, tmp_path, bytes(image))
    with onto.copy(sample) as digests:
        onto.assert_right(digests)
    assert clusters(onto.image.touched) <= changed
    whole_ones = {start for start, length in onto.changes.partly() if start in sample}
    beside = sum(
        min(BLOCK, SIZE - start) - sum(end - low for low, end in onto.changes.within(start, start + BLOCK))
        for start in whole_ones
    )
    assert left or onto.source.bytes_read <= onto.changes.size + beside


def test_of_a_block_that_changed_in_part_only_that_part_is_read_at_the_source(tmp_path: Path) -> None:
    parent = random.Random(1).randbytes(2 * MiB) + bytes(3 * MiB) + random.Random(2).randbytes(MiB + 512)
    source = bytearray(parent)
    areas = [(70 * KiB, 10), (900 * KiB, 5), (3 * MiB + 5, 1), (SIZE - 1, 1)]
    for offset, length in areas:
        source[offset : offset + length] = b"x" * length
    onto = Onto(parent, bytes(source), areas, tmp_path)
    with onto.copy() as digests:
        onto.assert_right(digests)
    parts = [(64 * KiB, 128 * KiB), (896 * KiB, 960 * KiB), (3 * MiB, 3 * MiB + 64 * KiB), (SIZE - 512, SIZE)]
    assert sorted(onto.source.reads) == parts
    # The block in the hole is known from the image's extents, the last one changed as a whole.
    assert onto.image.reads == [(0, MiB)]


def test_of_a_block_that_changed_in_part_only_what_is_content_is_read_at_either_side(tmp_path: Path) -> None:
    """And nothing is written but what changed: neither the zeroes that the image holds beside it, nor its content."""
    chance = random.Random(1)
    parent = bytearray(SIZE)
    parent[MiB + 128 * KiB : MiB + 192 * KiB] = chance.randbytes(64 * KiB)
    parent[MiB + 512 * KiB : MiB + 576 * KiB] = chance.randbytes(64 * KiB)
    parent[4 * MiB : 5 * MiB] = chance.randbytes(MiB)
    source = bytearray(parent)
    source[MiB + 192 * KiB : MiB + 256 * KiB] = chance.randbytes(64 * KiB)
    source[MiB + 512 * KiB : MiB + 576 * KiB] = bytes(64 * KiB)
    source[3 * MiB + 64 * KiB : 3 * MiB + 128 * KiB] = chance.randbytes(64 * KiB)
    source[4 * MiB : 4 * MiB + 512 * KiB] = bytes(512 * KiB)
    areas = [
        (MiB + 192 * KiB, 64 * KiB),
        (MiB + 512 * KiB, 64 * KiB),
        (3 * MiB + 64 * KiB, 64 * KiB),
        (4 * MiB, 512 * KiB),
    ]
    onto = Onto(bytes(parent), bytes(source), areas, tmp_path)
    zeroes = bytearray(64 * KiB)  # that the image stores
    MemoryDisk.write(onto.image, MiB, zeroes)
    with onto.copy() as digests:
        onto.assert_right(digests)
    assert sorted(onto.source.reads) == [
        (MiB + 192 * KiB, MiB + 256 * KiB),
        (3 * MiB + 64 * KiB, 3 * MiB + 128 * KiB),
    ]
    assert sorted(onto.image.reads) == [
        (MiB, MiB + 64 * KiB),
        (MiB + 128 * KiB, MiB + 192 * KiB),
        (MiB + 512 * KiB, MiB + 576 * KiB),
        (4 * MiB, 5 * MiB),
    ]
    assert sorted(onto.image.touched) == [(start, start + length) for start, length in areas]


def test_of_a_long_hole_over_blocks_that_changed_in_part_one_is_held_at_a_time(tmp_path: Path) -> None:
    """A request to zero may span 32 of them, and many are under way."""
    onto = Onto(bytes(SIZE), bytes(SIZE), [(block, 64 * KiB) for block in range(0, SIZE, BLOCK)], tmp_path)
    for block in range(0, SIZE - 512, BLOCK):
        MemoryDisk.write(onto.image, block, bytes(BLOCK))  # zeroes that the image stores
    asked: list[int] = []
    reads = MemoryChannel.read

    def read(channel: MemoryChannel, offset: int, into: memoryview, done: Done) -> None:
        asked.append(channel.in_flight)
        reads(channel, offset, into, done)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryChannel, "read", read)
        with onto.copy() as digests:
            onto.assert_right(digests)
    assert len(asked) == 6
    assert set(asked) == {0}
    assert sorted(onto.image.touched) == [(block, block + 64 * KiB) for block in range(0, SIZE - 512, BLOCK)]


def test_a_forgotten_write_that_left_a_hole_beside_one_that_was_told_is_found_without_a_sample(tmp_path: Path) -> None:
    parent = random.Random(1).randbytes(SIZE)
    source = bytearray(parent)
    source[2 * MiB : 2 * MiB + 10] = b"told here."
    source[2 * MiB + 640 * KiB : 2 * MiB + 704 * KiB] = bytes(64 * KiB)
    with pytest.raises(UntouchedDiffers) as found:
        Onto(parent, bytes(source), [(2 * MiB, 10)], tmp_path).copy()
    assert found.value.offset == 2 * MiB + 640 * KiB


def test_a_whole_disk_of_small_changes_is_asked_about_at_once(tmp_path: Path) -> None:
    """A question for each run of blocks would make a copy through SSH wait a round trip for each of them."""
    content = random.Random(1).randbytes(SIZE)
    onto = Onto(content, content, [(at, 1) for at in range(0, SIZE, 2 * MiB)], tmp_path)
    asked: list[tuple[int, int]] = []
    answer = onto.image.extents

    def extents(offset: int, length: int) -> list[Extent]:
        asked.append((offset, offset + length))
        return answer(offset, length)

    onto.image.extents = extents  # type: ignore[method-assign]
    onto.copy().close()
    assert asked == [(0, SIZE)]


@pytest.mark.parametrize("became", ["content", "zero block"])
@pytest.mark.parametrize("parent", ["content", "hole"])
def test_a_forgotten_write_beside_one_that_was_told_is_found_in_a_sampled_block(
    tmp_path: Path, became: str, parent: str
) -> None:
    before = random.Random(1).randbytes(SIZE) if parent == "content" else b"e" * 64 + bytes(SIZE - 64)
    source = bytearray(before)
    source[2 * MiB : 2 * MiB + 10] = b"told here."
    if became == "content":
        source[2 * MiB + 640 * KiB] ^= 1
    elif parent == "content":
        source[2 * MiB : 3 * MiB] = bytes(MiB)
    else:
        source[2 * MiB + 10 : 3 * MiB] = b"f" * (MiB - 10)
    with pytest.raises(UntouchedDiffers) as found:
        Onto(before, bytes(source), [(2 * MiB, 10)], tmp_path).copy({2 * MiB})
    assert 2 * MiB + 64 * KiB <= found.value.offset < 3 * MiB


def test_a_block_of_the_image_that_is_not_the_parents_is_read_whole_and_compared(tmp_path: Path) -> None:
    """In its changed part a copy before may have written; in the rest the parent rotted, and is not taken over."""
    parent = random.Random(1).randbytes(SIZE)
    source = bytearray(parent)
    source[2 * MiB : 2 * MiB + 10] = b"told here."
    areas = [(2 * MiB, 10)]
    written, rotten = bytearray(parent), bytearray(parent)
    written[2 * MiB + 5] ^= 1
    rotten[2 * MiB + 640 * KiB] ^= 1
    resumed = Onto(parent, bytes(source), areas, tmp_path, bytes(written))
    with resumed.copy() as digests:
        resumed.assert_right(digests)
    assert resumed.source.reads == [(2 * MiB, 3 * MiB)]
    with pytest.raises(UntouchedDiffers) as found:
        Onto(parent, bytes(source), areas, tmp_path, bytes(rotten)).copy()
    assert found.value.offset == 2 * MiB + 64 * KiB


@pytest.mark.parametrize("flushes", range(1, 6))
def test_a_copy_that_was_stopped_resumes_and_reads_whole_only_what_it_wrote_unrecorded(
    tmp_path: Path, flushes: int
) -> None:
    """Stopped after a FLUSH; two blocks that were written after it are not in the ledger."""
    chance = random.Random(flushes)
    parent = chance.randbytes(3 * MiB) + bytes(4 * MiB) + chance.randbytes(5 * MiB + 512)
    source = bytearray(parent)
    areas = [(block + chance.randrange(0, MiB, CLUSTER), 3 * KiB) for block in range(0, 12 * MiB, MiB)]
    for offset, length in areas:
        source[offset : offset + length] = chance.randbytes(length)
    first = Onto(parent, bytes(source), areas, tmp_path)
    ledger: list[Flushed] = []
    stop, left = threading.Event(), flushes

    def record(ranges: Sequence[Flushed]) -> None:
        nonlocal left
        ledger.extend(ranges)
        left -= 1
        if left == 0:
            stop.set()

    with pytest.raises(Interrupted):
        first.copy(stop=stop, tuning=Tuning(in_flight=2, window=4 * MiB), on_flushed=record)
    assert ledger
    again = Onto(parent, bytes(source), areas, tmp_path, whole(first.image))
    with again.copy(done=ledger) as digests:
        again.assert_right(digests)
    assert again.source.bytes_read <= again.changes.size + 4 * (MiB - CLUSTER)
    assert not {start for start, _ in again.source.reads} & {
        start for one in ledger for start, _ in again.changes.within(one.offset, one.end)
    }


AREAS = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40)), max_size=6)


@given(areas=AREAS, rest=st.sampled_from([0, 512, CLUSTER, CLUSTER + 512]))
def test_blocks_that_changed_in_part_are_those_with_clusters_of_both_kinds(
    areas: list[tuple[int, int]], rest: int
) -> None:
    capacity = 8 * MiB + rest
    named = sorted((start * CLUSTER, min(length * CLUSTER, capacity - start * CLUSTER)) for start, length in areas)
    changed = clusters((start, start + length) for start, length in named)
    wanted = []
    for start in range(0, capacity, BLOCK):
        length = min(BLOCK, capacity - start)
        if 0 < len(clusters([(start, start + length)]) & changed) < -(-length // CLUSTER):
            wanted.append((start, length))
    assert Changes(named, capacity).partly() == wanted


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
        return spread(gaps(capacity, inside), seed="a", share=share, one_in=200, least=20, most=30)

    found = drawn()
    assert found == drawn() == sorted(set(found))
    assert set(found) <= set(free)
    wanted = len(free) if share == 1.0 else max(20, len(free) // 200 if share is None else len(free) * share)
    assert min(len(free), wanted) <= len(found) <= min(len(free), wanted + 1)
    assert share != 1.0 or found == free
    for number, block in enumerate(found):  # one from each of as many equal parts
        assert number * len(free) // len(found) <= free.index(block) < (number + 1) * len(free) // len(found)


@pytest.mark.parametrize("verb", ["write", "zero"])
def test_what_goes_to_several_places_is_done_once_all_of_them_are(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Else a FLUSH would be believed to cover a part that is still under way."""
    endpoint = MemoryEndpoint(MemoryDisk(SIZE), "image")
    (below,), held = endpoint.channels, []
    (channel,) = Overlay(endpoint, Changes([(MiB, 1), (MiB + 300 * KiB, 1)], SIZE)).channels
    issue = getattr(below, verb)

    def request(offset: int, *rest: Any) -> None:
        if offset == MiB:
            held.append(lambda: issue(offset, *rest))
        else:
            issue(offset, *rest)

    monkeypatch.setattr(below, verb, request)
    done: list[object] = []
    if verb == "write":
        channel.write(MiB, memoryview(bytes(MiB)), done.append)
    else:
        channel.zero(MiB, MiB, done.append)
    for _ in range(3):  # of a zeroed block it reads first
        channel.advance(0)
    assert (len(held), done) == (1, [])
    held.pop()()
    channel.advance(0)
    assert done == [None]
