import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.errors import StateError
from runner.base.units import MiB
from steps.copy.ledger import Flushed, Ledger, LedgerHead, head_line, join, ranges_line, read_ledger
from steps.copy.sampling import Sampling

HEAD = LedgerHead(
    disk_key=2000,
    capacity=64 * MiB + 512,
    backing_uuid="6000C29a",
    image="hub:/r/disk-2000.qcow2",
    snapshot="snapshot-7",
)
FLUSHES = [
    [Flushed(0, 2 * MiB, b"d" * 64), Flushed(2 * MiB, 30 * MiB, b"")],
    [Flushed(64 * MiB, 512, b"e" * 32)],
    [Flushed(32 * MiB, MiB, bytes(32))],
]


def _ledger():
    content = bytearray()
    ledger = Ledger(content.extend)
    ledger.begin(HEAD)
    for flush in FLUSHES:
        ledger.record(flush)
    return bytes(content)


@pytest.mark.parametrize("length", [1, 7, 64, 10_000])
def test_a_ledger_may_come_in_pieces(length: int) -> None:
    content = _ledger() + b"torn"
    pieces = [content[at : at + length] for at in range(0, len(content), length)]
    reading = read_ledger(iter(pieces), "l")
    assert reading == read_ledger(content, "l")
    assert reading is not None and reading.torn and reading.intact == len(_ledger())


def test_what_was_recorded_reads_back():
    reading = read_ledger(_ledger(), "ledger/2000")
    assert [segment.head for segment in reading.segments] == [HEAD]
    assert list(reading.segments[0].ranges) == [one for flush in FLUSHES for one in flush]
    assert reading.intact == len(_ledger())


def test_a_new_head_begins_a_new_segment():
    content = bytearray(_ledger())
    ledger = Ledger(content.extend)
    later = replace(HEAD, snapshot="snapshot-8")
    ledger.begin(later)
    ledger.record(FLUSHES[1])
    first, second = read_ledger(bytes(content), "l").segments
    assert (first.head, len(first.ranges)) == (HEAD, 4)
    assert (second.head, list(second.ranges)) == (later, FLUSHES[1])


def test_how_the_sample_stands_reads_back_as_it_was_last():
    content = bytearray()
    ledger = Ledger(content.extend)
    ledger.begin(HEAD)
    ledger.record(FLUSHES[0], Sampling(seen=2, blocks=2, incompressible=1))
    ledger.record(FLUSHES[1], Sampling(seen=3, blocks=3, incompressible=1))
    ledger.record(FLUSHES[2])
    reading = read_ledger(bytes(content), "l")
    assert reading.sampling == Sampling(seen=3, blocks=3, incompressible=1)
    assert list(reading.segments[0].ranges) == [one for flush in FLUSHES for one in flush]
    assert read_ledger(b"".join(bytes(content).splitlines(keepends=True)[:2]), "l").sampling == Sampling(
        seen=2, blocks=2, incompressible=1
    )


@pytest.mark.parametrize("sampling", [Sampling(1, 1, 2), Sampling(-1, 1, 1), Sampling(1, True, 1)], ids=str)
def test_a_sample_that_cannot_be_is_refused(sampling):
    with pytest.raises(StateError, match="line 2 of the ledger l says of a sample what cannot be"):
        read_ledger(head_line(HEAD) + ranges_line(FLUSHES[0], sampling), "l")


@given(st.integers(0, len(_ledger()) - 1))
def test_a_torn_tail_is_dropped_wherever_it_was_torn(length):
    content = _ledger()[:length]
    whole = content.count(b"\n")
    reading = read_ledger(content, "ledger/2000")
    if whole == 0:
        assert reading is None
    else:
        assert list(reading.segments[0].ranges) == [one for flush in FLUSHES[: whole - 1] for one in flush]
        assert content[: reading.intact] == b"".join(_ledger().splitlines(keepends=True)[:whole])


def test_a_last_line_that_never_reached_the_disk_is_dropped():
    *lines, last = _ledger().splitlines(keepends=True)
    reading = read_ledger(b"".join(lines) + bytes(len(last) - 1) + b"\n", "ledger/2000")
    assert list(reading.segments[0].ranges) == [one for flush in FLUSHES[:-1] for one in flush]
    assert reading.intact == len(b"".join(lines))


@given(st.integers(0, len(b"".join(_ledger().splitlines(keepends=True)[:-1])) - 2), st.integers(1, 255))
def test_damage_before_the_last_line_is_refused_in_a_sentence(position, flip):
    content = bytearray(_ledger())
    content[position] ^= flip
    with pytest.raises(StateError, match="ledger/2000 is damaged: remove the file to copy the disk from the start"):
        read_ledger(bytes(content), "ledger/2000")


def test_a_ledger_from_the_future_is_refused():
    with pytest.raises(StateError, match="ledger l has schema version 2, and this sendense reads 1"):
        read_ledger(head_line(replace(HEAD, schema_version=2)), "l")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(Flushed(512, MiB, b""), id="not-at-a-block"),
        pytest.param(Flushed(0, 4096, b""), id="not-whole-blocks"),
        pytest.param(Flushed(64 * MiB, MiB, b""), id="past-the-end"),
        pytest.param(Flushed(0, 2 * MiB, b"d" * 32), id="a-digest-missing"),
        pytest.param(Flushed(0, 0, b""), id="empty"),
    ],
)
def test_ranges_that_the_disk_does_not_have_are_refused(wrong):
    with pytest.raises(StateError, match="line 2 of the ledger l names ranges that its disk does not have"):
        read_ledger(head_line(HEAD) + ranges_line([wrong]), "l")


def test_neighbours_of_one_kind_become_one():
    parts = [Flushed(i * MiB, MiB, bytes([i]) * 32 if i < 3 else b"") for i in range(6)]
    random.Random(3).shuffle(parts)
    assert join(parts) == [
        Flushed(0, 3 * MiB, b"\0" * 32 + b"\1" * 32 + b"\2" * 32),
        Flushed(3 * MiB, 3 * MiB, b""),
    ]
