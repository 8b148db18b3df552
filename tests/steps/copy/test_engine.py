"""copy() between endpoints in memory: what is read, written, skipped, counted and refused."""

import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.errors import Interrupted
from runner.base.units import GiB, KiB, MiB, TiB
from runner.hosts.files import NoSpaceError
from steps.copy.digests import Digests, digest_of
from steps.copy.endpoint import RequestFailed, WrongEndpoint
from steps.copy.engine import Progress, Tuning, copy
from steps.copy.extents import BLOCK, PART, Extent
from steps.copy.ledger import Flushed
from steps.copy.memory import MemoryChannel, MemoryDisk, MemoryEndpoint

SIZE = 12 * MiB + 512


def _content(length, seed=1):
    return random.Random(seed).randbytes(length)


class Bench:
    """A source and a target in memory, and a copy between them."""

    def __init__(self, path, size=SIZE):
        self.path = path / "disk.blake3"
        self.source, self.target = MemoryDisk(size), MemoryDisk(size)
        self.digest = None

    def copy(self, **options):
        target = options.pop("target", None) or MemoryEndpoint(self.target, "target")
        source = options.pop("source", None) or MemoryEndpoint(self.source, "source", connections=2, read_only=True)
        with Digests.create(self.path, self.source.size) as digests:
            done = copy(source, target, digests, **{"stop": threading.Event(), **options})
            self.digest = digests.digest()
            self.counts = digests.counts()
        return done

    def bytes_of(self, disk, offset, length):
        content = bytearray(length)
        disk.read(offset, memoryview(content))
        return bytes(content)

    def same(self):
        size = self.source.size
        return self.bytes_of(self.source, 0, size) == self.bytes_of(self.target, 0, size)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class Watched(MemoryEndpoint):
    """Remembers what was asked of it, and can answer extents as servers do that know or tell less."""

    def __init__(self, disk, name, *, extents="tell", **options):
        super().__init__(disk, name, **options)
        self.asked = []
        for channel in self.channels:
            self._watch(channel, extents)

    def _watch(self, channel, extents):
        for verb in ("read", "write", "zero", "flush"):
            setattr(channel, verb, self._noting(channel, verb, getattr(channel, verb)))
        if extents == "fail":
            channel.extents = lambda offset, length, answered: channel._waiting.append(
                lambda: answered([], RequestFailed(self.name, "extents", offset, length, 5))
            )
        elif extents == "one":
            channel.extents = lambda offset, length, answered: channel._waiting.append(
                lambda: answered([Extent(offset, length, False)], None)
            )

    def _noting(self, channel, verb, act):
        def noted(*arguments):
            self.asked.append((verb, *(len(a) if isinstance(a, memoryview) else a for a in arguments[:-1])))
            act(*arguments)

        return noted

    def ranges(self, *verbs):
        return [asked for asked in self.asked if asked[0] in verbs]

    def moved(self, verb):
        return sum(length for _, _, length in self.ranges(verb))

    def count(self, verb):
        return sum(1 for asked in self.asked if asked[0] == verb)


def test_every_byte_arrives_and_every_block_has_its_digest(bench):
    bench.source.write(0, _content(2 * MiB))
    bench.source.write(5 * MiB + 512, _content(512))
    bench.source.write(12 * MiB, _content(512))
    done = bench.copy()
    assert bench.same()
    entries = bench.path.read_bytes()
    for block in range(13):
        content = bench.bytes_of(bench.source, block * MiB, min(MiB, SIZE - block * MiB))
        expected = digest_of(content) if any(content) else bytes(32)
        assert entries[block * 32 : block * 32 + 32] == expected
    assert bench.counts == (3 * MiB + 512, 9 * MiB)
    written = 2 * MiB + 64 * KiB + 512
    assert done.progress == Progress(data=written, zero=0, skipped=SIZE - written)


def test_4k_of_data_in_the_middle_of_a_hole_arrives(tmp_path):
    bench = Bench(tmp_path, 64 * MiB)
    bench.source.write(32 * MiB + 510 * KiB, _content(4 * KiB))
    source = Watched(bench.source, "source", extents="one", read_only=True)
    assert bench.copy(source=source).progress.data == 2 * 64 * KiB
    assert bench.bytes_of(bench.target, 32 * MiB + 510 * KiB, 4 * KiB) == _content(4 * KiB)


def test_of_a_block_that_is_content_in_part_only_that_is_read_and_written(bench):
    bench.source.write(5 * MiB + 70 * KiB, _content(512))
    bench.source.write(5 * MiB + 640 * KiB, _content(100 * KiB))
    source = Watched(bench.source, "source", read_only=True)
    target = Watched(bench.target, "target")
    done = bench.copy(source=source, target=target)
    assert bench.same()
    parts = [(5 * MiB + 64 * KiB, 64 * KiB), (5 * MiB + 640 * KiB, 128 * KiB)]
    assert sorted(source.asked) == [("read", *part) for part in parts]
    assert sorted(target.asked) == [("flush",), *(("write", *part) for part in parts)]
    assert done.progress == Progress(data=192 * KiB, zero=0, skipped=SIZE - 192 * KiB)
    assert done.progress.read == 192 * KiB
    assert bench.path.read_bytes()[5 * 32 : 6 * 32] == digest_of(bench.bytes_of(bench.source, 5 * MiB, MiB))


SMALL = 3 * MiB + 512
RANGES = st.lists(
    st.tuples(st.integers(0, SMALL - 1), st.sampled_from([1, 512, 4 * KiB, 60 * KiB, 200 * KiB, 2 * MiB])), max_size=6
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=RANGES, zeroes=RANGES, old=RANGES, tells=st.booleans())
def test_any_disk_arrives_over_any_other_and_no_more_is_moved_than_its_content(tmp_path, content, zeroes, old, tells):
    """`zeroes` were written, so extents call them content; `old` is what the target held before."""
    bench, noise = Bench(tmp_path, SMALL), _content(4 * MiB)

    def fill(disk, ranges):
        for offset, length in ranges:
            disk.write(offset, noise[offset % 97 :][: min(length, SMALL - offset)])

    fill(bench.source, content)
    for offset, length in zeroes:
        bench.source.write(offset, bytes(min(length, SMALL - offset)))
    fill(bench.target, old)
    called = sum(extent.length for extent in bench.source.extents(0, SMALL) if not extent.zero)
    source = Watched(bench.source, "source", extents="tell" if tells else "one", connections=2, read_only=True)
    target = Watched(bench.target, "target", connections=2)
    done = bench.copy(source=source, target=target, tuning=Tuning(in_flight=3))
    assert bench.same()
    whole = bench.bytes_of(bench.source, 0, SMALL)
    for at in range(0, SMALL, BLOCK):
        block = whole[at : at + BLOCK]
        assert bench.path.read_bytes()[at // BLOCK * 32 :][:32] == (digest_of(block) if any(block) else bytes(32))
    assert done.progress.done == SMALL
    assert done.progress.read == source.moved("read") == (called if tells else SMALL)
    assert (done.progress.data, done.progress.zero) == (target.moved("write"), target.moved("zero"))
    written = {
        part for _, at, length in target.ranges("write") for part in range(at // PART, -(-(at + length) // PART))
    }
    assert written == {at // PART for at in range(0, SMALL, PART) if any(whole[at : at + PART])}


def test_zeroes_in_a_block_are_zeroed_where_the_target_has_other_bytes(bench):
    """As it is after a kill, or where a backing file shows through."""
    bench.source.write(2 * MiB, _content(64 * KiB))
    bench.source.write(2 * MiB + 512 * KiB, bytes(64 * KiB))
    bench.target.write(2 * MiB + 300 * KiB, _content(400 * KiB, seed=2))
    target = Watched(bench.target, "target")
    done = bench.copy(target=target)
    assert bench.same()
    assert sorted(target.ranges("write", "zero")) == [
        ("write", 2 * MiB, 64 * KiB),
        ("zero", 2 * MiB + 256 * KiB, 448 * KiB),
    ]
    assert done.progress == Progress(data=64 * KiB, zero=448 * KiB, skipped=SIZE - 512 * KiB)


def test_holes_that_the_source_knows_are_not_read(bench):
    bench.source.write(5 * MiB, _content(MiB))
    source = Watched(bench.source, "source", read_only=True)
    bench.copy(source=source)
    assert source.asked == [("read", 5 * MiB, MiB)]


@pytest.mark.parametrize("extents", ["one", "fail"], ids=["one-extent-for-the-whole-disk", "a-query-that-fails"])
def test_zeroes_are_found_in_the_data_where_the_source_does_not_tell(bench, extents):
    bench.source.write(5 * MiB, _content(MiB))
    source = Watched(bench.source, "source", extents=extents, read_only=True)
    target = Watched(bench.target, "target")
    done = bench.copy(source=source, target=target)
    assert source.count("read") == 13
    assert target.count("write") == 1
    assert done.progress == Progress(data=MiB, zero=0, skipped=SIZE - MiB)
    assert done.blind == (SIZE if extents == "fail" else 0)


def test_a_target_that_fails_to_tell_is_not_said_to_be_the_source(bench):
    bench.source.write(5 * MiB, _content(MiB))
    source = Watched(bench.source, "source", read_only=True)
    assert bench.copy(source=source, target=Watched(bench.target, "target", extents="fail")).blind == 0
    assert source.moved("read") == MiB
    assert bench.same()


@pytest.mark.parametrize("source_extents", ["tell", "one"], ids=["hole", "zeroes-in-the-data"])
def test_a_zero_block_is_written_where_the_target_has_other_bytes(bench, source_extents):
    bench.target.write(0, _content(6 * MiB))
    bench.source.write(0, _content(MiB, seed=2))
    source = Watched(bench.source, "source", extents=source_extents, read_only=True)
    done = bench.copy(source=source)
    assert bench.same()
    assert done.progress == Progress(data=MiB, zero=5 * MiB, skipped=SIZE - 6 * MiB)


@pytest.mark.parametrize("target_extents", ["one", "fail"])
def test_a_target_that_does_not_tell_is_not_taken_for_blank(bench, target_extents):
    bench.target.write(0, _content(SIZE))
    done = bench.copy(target=Watched(bench.target, "target", extents=target_extents))
    assert bench.same()
    assert done.progress == Progress(data=0, zero=SIZE, skipped=0)


@pytest.mark.parametrize("target_extents", ["one", "fail"])
def test_a_blank_target_is_not_asked_and_gets_no_zeroes(bench, target_extents):
    bench.source.write(5 * MiB, _content(MiB))
    target = Watched(bench.target, "target", extents=target_extents)
    done = bench.copy(target=target, blank=True)
    assert bench.same()
    assert target.count("extents") == 0
    assert done.progress == Progress(data=MiB, zero=0, skipped=SIZE - MiB)


def test_progress_is_of_completed_bytes_and_ends_at_the_capacity(bench):
    bench.source.write(0, _content(3 * MiB))
    told = []
    done = bench.copy(on_progress=told.append)
    assert told[-1] == done.progress
    assert all(one.done <= SIZE for one in told)
    assert done.progress.done == SIZE


def test_what_the_ledger_lists_is_neither_read_nor_written_but_has_its_digests(bench):
    bench.source.write(0, _content(SIZE))
    bench.copy()
    whole, entries = bench.digest, bench.path.read_bytes()
    bench.target = MemoryDisk(SIZE)
    source = Watched(bench.source, "source", read_only=True)
    safe = [Flushed(4 * MiB, 2 * MiB, entries[4 * 32 : 6 * 32]), Flushed(0, MiB, entries[:32])]
    done = bench.copy(source=source, done=safe)
    assert bench.digest == whole
    assert sorted(asked[1] // MiB for asked in source.asked) == [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]
    assert bench.bytes_of(bench.target, 4 * MiB, 2 * MiB) == bytes(2 * MiB)
    assert done.progress == Progress(data=SIZE - 3 * MiB, zero=0, skipped=3 * MiB)


def test_a_copy_that_is_all_done_still_ends_with_a_flush(bench):
    target = Watched(bench.target, "target")
    bench.copy(target=target, done=[Flushed(0, SIZE, b"")])
    assert target.asked == [("flush",)]


def test_on_flushed_lists_every_byte_once(bench):
    bench.source.write(MiB, _content(6 * MiB))
    flushed = []
    bench.copy(on_flushed=flushed.extend, tuning=Tuning(in_flight=2, window=2 * MiB))
    assert sum(one.length for one in flushed) == SIZE
    ordered = sorted(flushed, key=lambda one: one.offset)
    assert [one.offset for one in ordered] == [0, *(one.end for one in ordered[:-1])]
    entries = bench.path.read_bytes()
    for one in ordered:
        blocks = -(-one.length // MiB)
        at = one.offset // MiB * 32
        assert entries[at : at + blocks * 32] == (one.digests or bytes(blocks * 32))


def test_no_more_than_a_window_is_unflushed(tmp_path):
    bench = Bench(tmp_path, 64 * MiB)
    bench.source.write(0, _content(64 * MiB))
    unflushed = most = 0

    def flushed(ranges):
        nonlocal unflushed
        unflushed -= sum(one.length for one in ranges)

    class Counting(Watched):
        def _noting(self, channel, verb, act):
            def noted(*arguments):
                nonlocal unflushed, most
                unflushed += len(arguments[1]) if verb == "write" else 0
                most = max(most, unflushed)
                act(*arguments)

            return noted

    target = Counting(bench.target, "target")
    bench.copy(target=target, on_flushed=flushed, tuning=Tuning(window=8 * MiB))
    assert unflushed == 0
    assert 4 * MiB <= most <= 8 * MiB


def test_one_channel_is_written_where_a_flush_does_not_count_for_others(bench):
    bench.source.write(0, _content(SIZE))
    target = Watched(bench.target, "target", connections=3, multi_conn=False)
    used = []
    for channel in target.channels[1:]:
        channel.write = target._noting(
            channel, "write", lambda *arguments, write=channel.write: used.append(write(*arguments))
        )
    bench.copy(target=target)
    assert not used
    assert target.count("write") == 13
    assert bench.same()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            {"size": SIZE - 512}, "the source has .* bytes but the target is for .*: nothing was copied", id="size"
        ),
        pytest.param({"read_only": True}, "the target is read-only: nothing was copied", id="read-only"),
        pytest.param({"can_flush": False}, "the target cannot flush", id="no-flush"),
    ],
)
def test_a_wrong_target_is_refused_before_byte_0(bench, change, sentence):
    bench.source.write(0, _content(MiB))
    target = Watched(bench.target, "target")
    target.abilities = replace(target.abilities, **change)
    with pytest.raises(WrongEndpoint, match=sentence):
        bench.copy(target=target)
    assert target.asked == []


def test_the_stop_flag_ends_a_copy(bench):
    bench.source.write(0, _content(SIZE))
    stop = threading.Event()
    with pytest.raises(Interrupted):
        bench.copy(stop=stop, on_flushed=lambda ranges: stop.set(), tuning=Tuning(window=2 * MiB))
    assert not bench.same()


@pytest.mark.parametrize("verb", ["read", "write", "zero", "flush"])
def test_any_failed_request_fails_the_copy_and_is_named(bench, verb, monkeypatch):
    bench.source.write(0, _content(3 * MiB))
    bench.target.write(6 * MiB, _content(MiB))
    act = getattr(MemoryChannel, verb)

    def failing(channel, *arguments):
        offset = arguments[0] if verb != "flush" else 0
        if verb != "flush" and offset not in (MiB, 6 * MiB):
            act(channel, *arguments)
        else:
            failed = RequestFailed(channel._endpoint.name, verb, offset, MiB, 28)
            channel._waiting.append(lambda: arguments[-1](failed))

    monkeypatch.setattr(MemoryChannel, verb, failing)
    with pytest.raises(RequestFailed, match=r"No space left on device; make room there") as failed:
        bench.copy()
    assert failed.value.verb == verb
    assert not failed.value.transient


def test_digests_that_find_no_room_fail_the_copy_with_a_sentence(bench):
    bench.source.write(0, _content(MiB))
    source, target = MemoryEndpoint(bench.source, "source"), MemoryEndpoint(bench.target, "target")
    full = Digests(Path("/dev/full"), SIZE, os.O_RDWR)
    with full, pytest.raises(NoSpaceError, match="no space left on this machine for /dev/full"):
        copy(source, target, full, stop=threading.Event())


def test_64_tib_of_holes_take_seconds_and_single_blocks_are_found(tmp_path):
    bench = Bench(tmp_path, 64 * TiB)
    for offset in (0, 32 * TiB + 4 * KiB, 64 * TiB - 512):
        bench.source.write(offset, b"x" * 512)
    flushed = []
    done = bench.copy(on_flushed=flushed.extend)
    assert done.progress == Progress(data=3 * PART, zero=0, skipped=64 * TiB - 3 * PART)
    assert bench.bytes_of(bench.target, 64 * TiB - 512, 512) == b"x" * 512
    assert len(flushed) < 100
    assert bench.counts == (3 * MiB, 64 * TiB - 3 * MiB)


def test_a_last_sector_beyond_5_gib_arrives(tmp_path):
    bench = Bench(tmp_path, 5 * GiB + 512)
    bench.source.write(5 * GiB, _content(512))
    bench.copy()
    assert bench.bytes_of(bench.target, 5 * GiB, 512) == _content(512)
    assert bench.path.read_bytes()[-32:] == digest_of(_content(512))
