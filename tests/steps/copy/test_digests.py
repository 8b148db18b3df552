import os
import random
import time
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.errors import HostError, StateError
from runner.base.units import GiB, MiB, TiB
from runner.hosts.files import NoSpaceError
from steps.copy.digests import Digests, content_of, digest_of, file_size, zero_digest
from steps.copy.extents import BLOCK, PART, WHOLE, Extent

CAPACITY = 5 * GiB + 512
"""5121 blocks, the last one of a sector."""


def _entry(number):
    return digest_of(number.to_bytes(8, "big"))


def test_entry_i_is_the_digest_of_block_i_and_zero_blocks_are_holes(tmp_path):
    with Digests.create(tmp_path / "d", CAPACITY) as digests:
        digests.put(3 * BLOCK, _entry(3) + _entry(4))
        digests.put(5 * GiB, _entry(5120))
    content = (tmp_path / "d").read_bytes()
    assert len(content) == 5121 * 32 == file_size(CAPACITY)
    assert content[3 * 32 : 5 * 32] == _entry(3) + _entry(4)
    assert content[-32:] == _entry(5120)
    assert content.count(0) > 5117 * 32


def test_counts_know_the_short_last_block(tmp_path):
    with Digests.create(tmp_path / "d", CAPACITY) as digests:
        digests.put(0, _entry(0))
        digests.put(5 * GiB, _entry(5120))
        assert digests.counts() == (MiB + 512, CAPACITY - MiB - 512)
        assert list(digests.data_blocks()) == [0, 5 * GiB]


def test_a_machine_without_room_is_named(tmp_path):
    with Digests(Path("/dev/full"), CAPACITY, os.O_RDWR) as digests, pytest.raises(NoSpaceError) as refused:
        digests.put(0, _entry(0))
    assert refused.value.message.startswith("no space left on this machine for /dev/full")
    with pytest.raises(HostError, match="Is a directory"):
        Digests.create(tmp_path, CAPACITY)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 100_000), max_size=40))
def test_digest_and_pieces_are_those_of_the_whole_file(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("digests") / "d"
    with Digests.create(path, 100_001 * BLOCK) as digests:
        for number in numbers:
            digests.put(number * BLOCK, _entry(number))
        content = path.read_bytes()
        assert digests.digest() == blake3(content).hexdigest()
        rebuilt = bytearray(digests.size)
        for offset, piece in digests.pieces():
            rebuilt[offset : offset + len(piece)] = piece
        assert rebuilt == content


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 3_000), max_size=40), st.integers(0, 3_000), st.integers(0, 3_000))
def test_the_blocks_of_content_of_a_range_are_those_between_its_ends(tmp_path_factory, numbers, first, count):
    with Digests.create(tmp_path_factory.mktemp("digests") / "d", 6_001 * BLOCK + 512) as digests:
        for number in numbers:
            digests.put(number * BLOCK, _entry(number))
        expected = [number * BLOCK for number in sorted(numbers) if first <= number < first + count]
        assert list(digests.data_blocks(first * BLOCK, count * BLOCK)) == expected
        found = [
            at + place * BLOCK
            for at, entries in digests.entries(first * BLOCK, count * BLOCK)
            for place in range(len(entries) // 32)
            if any(entries[place * 32 : place * 32 + 32])
        ]
        assert found == expected


def test_a_received_file_is_the_same_and_as_sparse(tmp_path):
    with Digests.create(tmp_path / "a", 40_000 * BLOCK) as digests:
        digests.put(39_000 * BLOCK, _entry(1))
        content = (tmp_path / "a").read_bytes()
        chunks = (content[at : at + MiB] for at in range(0, len(content), MiB))
        with Digests.receive(tmp_path / "b", 40_000 * BLOCK, chunks) as received:
            assert received.digest() == digests.digest()
    assert (tmp_path / "b").stat().st_blocks * 512 < MiB


@pytest.mark.parametrize("size", [0, 32, 96], ids=["empty", "short", "long"])
def test_a_received_file_of_another_length_is_refused(tmp_path, size):
    with pytest.raises(StateError, match=f"has {size} bytes where a disk of 2097152 needs 64"):
        Digests.receive(tmp_path / "d", 2 * BLOCK, [b"x" * size] if size else [])


def test_a_block_of_zeroes_is_expected_to_have_the_digest_of_zeroes(tmp_path):
    with Digests.create(tmp_path / "d", BLOCK + 512) as digests:
        digests.put(0, _entry(0))
        assert digests.expected(0) == _entry(0)
        assert digests.expected(BLOCK) == zero_digest(512) == blake3(bytes(512)).digest()


def test_extents_of_digests_are_runs_of_zero_blocks(tmp_path):
    with Digests.create(tmp_path / "d", 4 * BLOCK + 512) as digests:
        digests.put(BLOCK, _entry(1))
        found = []
        digests.extents(0, 4 * BLOCK + 512, found.extend)
        assert found == [Extent(0, BLOCK, True), Extent(BLOCK, BLOCK, False), Extent(2 * BLOCK, 2 * BLOCK + 512, True)]


def test_the_digest_of_64_tib_takes_seconds_and_no_space(tmp_path):
    begun = time.monotonic()
    with Digests.create(tmp_path / "d", 64 * TiB) as digests:
        for _ in range(8):
            digests.put(random.Random(1).randrange(64 * TiB // BLOCK) * BLOCK, _entry(7))
        assert len(digests.digest()) == 64
        assert digests.counts()[0] == MiB
    assert (tmp_path / "d").stat().st_blocks * 512 < MiB
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("length", [BLOCK, 512, 64, 8], ids=lambda length: f"{length} bytes")
def test_one_byte_anywhere_makes_a_block_content(length):
    assert digest_of(bytes(length)) == blake3(bytes(length)).digest() == zero_digest(length)
    for at in {0, min(63, length - 1), min(64, length - 1), length // 2, length - 1}:
        block = memoryview(bytearray(length))
        block[at] = 1
        assert digest_of(block) == blake3(block).digest() != zero_digest(length)


@given(st.integers(1, BLOCK), st.lists(st.integers(0, BLOCK - 1), max_size=5), st.integers(0, WHOLE))
def test_the_parts_of_a_block_that_hold_a_byte_are_its_content_as_far_as_they_are_asked_for(length, places, among):
    block = bytearray(length)
    for place in places:
        block[place % length] = 1
    expected = sum({1 << place % length // PART for place in places})
    assert content_of(memoryview(block), among) == expected & among
