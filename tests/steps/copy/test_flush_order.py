"""What the ledger lists survives a power cut of the target, at any moment, in any order of completion."""

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.units import KiB, MiB
from steps.copy.digests import Digests
from steps.copy.engine import Tuning, copy
from steps.copy.ledger import Ledger, LedgerHead, read_ledger
from steps.copy.memory import MemoryDisk, MemoryEndpoint

BLOCKS = 8
SIZE = BLOCKS * MiB - 512


class PowerCut(Exception):
    pass


class Cache:
    """A target as unkind as the protocol allows: requests complete in random order, and a FLUSH makes durable only what
    completed before it was issued (on that channel only, without multi_conn). Power fails after some completions."""

    def __init__(self, durable: MemoryDisk, seed: int, completions: int, multi_conn: bool):
        self.durable = durable
        self.chance = random.Random(seed)
        self.left = completions
        self.volatile: list[tuple[object, Callable[[], None]]] = []
        """Completed, in order: the channel, and what makes it durable."""
        self.endpoint = MemoryEndpoint(_clone(durable), "target", connections=2, multi_conn=multi_conn)
        for channel in self.endpoint.channels:
            self._make_unkind(channel)

    def _make_unkind(self, channel):
        write, zero, flush, advance = channel.write, channel.zero, channel.flush, channel.advance
        every = self.endpoint.abilities.multi_conn

        def cached_write(offset, content, done):
            kept = bytes(content)
            write(offset, content, self._then(channel, lambda: self.durable.write(offset, kept), done))

        def cached_zero(offset, length, done):
            zero(offset, length, self._then(channel, lambda: self.durable.zero(offset, length), done))

        def cached_flush(done):
            covered = [entry for entry in self.volatile if every or entry[0] is channel]

            def flushed(failed):
                for entry in covered:
                    if entry in self.volatile:
                        self.volatile.remove(entry)
                        entry[1]()
                done(failed)

            flush(flushed)

        def advance_some(ready):
            waiting = channel._waiting
            self.chance.shuffle(waiting)
            held = [waiting.pop() for _ in range(self.chance.randrange(len(waiting)))]
            self.left -= len(waiting)
            if self.left < 0:
                raise PowerCut
            advance(ready)
            waiting.extend(held)

        channel.write, channel.zero, channel.flush, channel.advance = (
            cached_write,
            cached_zero,
            cached_flush,
            advance_some,
        )

    def _then(self, channel, make_durable, done):
        def completed(failed):
            self.volatile.append((channel, make_durable))
            done(failed)

        return completed


def _clone(disk):
    clone = MemoryDisk(disk.size)
    clone._pages = {number: bytearray(page) for number, page in disk._pages.items()}
    return clone


def _bytes_of(disk, offset, length):
    content = bytearray(length)
    disk.read(offset, memoryview(content))
    return bytes(content)


LAYOUTS = {
    "hole": [],
    "whole": [(0, MiB)],
    "edges": [(0, 5 * KiB), (900 * KiB + 512, MiB)],
    "middle": [(70 * KiB, 71 * KiB), (300 * KiB, 500 * KiB)],
}
"""What of a block is content, as (start, end)."""
DISKS = st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=BLOCKS, max_size=BLOCKS)


def _fill(disk, blocks, seed):
    for block, layout in enumerate(blocks):
        for start, end in LAYOUTS[layout]:
            length = min(end, SIZE - block * MiB) - start
            disk.write(block * MiB + start, random.Random(seed + block).randbytes(length))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("flush-order")


@settings(max_examples=20, deadline=None)
@given(
    DISKS,
    DISKS,
    st.integers(0, 1000),
    st.lists(st.integers(0, 60), max_size=3),
    st.booleans(),
)
def test_what_the_ledger_lists_is_durable_and_a_resume_makes_the_rest(scratch, content, old, seed, cuts, multi):
    source, durable = MemoryDisk(SIZE), MemoryDisk(SIZE)
    _fill(source, content, 1)
    _fill(durable, old, 100)
    ledger_file = bytearray()
    ledger = Ledger(ledger_file.extend)
    ledger.begin(LedgerHead(disk_key=2000, capacity=SIZE, backing_uuid="u", image="i", snapshot="s"))
    for completions in (*cuts, 10**6):
        ranges = read_ledger(bytes(ledger_file), "ledger").segments[-1].ranges
        for one in ranges:
            assert _bytes_of(durable, one.offset, one.length) == _bytes_of(source, one.offset, one.length)
        cache = Cache(durable, seed, completions, multi)
        reader = MemoryEndpoint(source, "source", connections=2, read_only=True)
        with Digests.create(scratch / "d", SIZE) as digests:
            try:
                copy(
                    reader,
                    cache.endpoint,
                    digests,
                    stop=threading.Event(),
                    tuning=Tuning(in_flight=3, window=4 * MiB),
                    done=ranges,
                    on_flushed=ledger.record,
                )
            except PowerCut:
                continue
            resumed = digests.digest()
    assert _bytes_of(durable, 0, SIZE) == _bytes_of(source, 0, SIZE)
    assert read_ledger(bytes(ledger_file), "ledger").intact == len(ledger_file)
    with Digests.create(scratch / "d", SIZE) as digests:
        straight = MemoryEndpoint(MemoryDisk(SIZE), "target")
        copy(MemoryEndpoint(source, "source", read_only=True), straight, digests, stop=threading.Event())
        assert digests.digest() == resumed


@pytest.mark.parametrize("late", [("write", 0), ("write", 896 * KiB), ("zero", 320 * KiB)], ids=lambda one: one[0])
def test_a_block_is_listed_once_all_that_it_takes_has_ended(tmp_path, monkeypatch, late):
    """It takes two writes and a zeroing, one of which is answered after the blocks behind it were flushed; its bytes are
    not those of a block that was read meanwhile."""
    source, image = MemoryDisk(SIZE), MemoryDisk(SIZE)
    _fill(source, ["edges"] * BLOCKS, 1)
    image.write(320 * KiB, b"old" * 1024)
    held: list[Callable[[], None]] = []
    target = MemoryEndpoint(image, "target")
    (channel,) = target.channels
    for verb in ("write", "zero"):
        issue = getattr(channel, verb)

        def request(offset, *rest, issue=issue, verb=verb):
            if (verb, offset) == late:
                held.append(lambda: issue(offset, *rest))
            else:
                issue(offset, *rest)

        monkeypatch.setattr(channel, verb, request)
    flushed = []

    def on_flushed(ranges):
        flushed.append([one.offset for one in ranges])
        if len(flushed) == 3:
            held.pop()()

    with Digests.create(tmp_path / "d", SIZE) as digests:
        copy(
            MemoryEndpoint(source, "source", read_only=True),
            target,
            digests,
            stop=threading.Event(),
            tuning=Tuning(in_flight=2, window=2 * MiB),
            on_flushed=on_flushed,
        )
    assert not any(0 in offsets for offsets in flushed[:3])
    assert sum(0 in offsets for offsets in flushed) == 1
    assert _bytes_of(image, 0, SIZE) == _bytes_of(source, 0, SIZE)
