"""What every endpoint of the copy engine does: real NBD servers and memory alike."""

import functools
import itertools
import random
import select
import threading

import pytest

from runner.base.units import KiB, MiB
from steps.copy.endpoint import Endpoint, RequestFailed
from steps.copy.extents import WHOLE, Blocks, Extent, by_blocks
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.copy.traffic import Traffic
from tests.nbd_servers import Servers, qcow2, raw

SIZE = 48 * MiB + 512


@pytest.fixture
def servers():
    with Servers() as started:
        yield started


def _memory(servers, path):
    return MemoryEndpoint(MemoryDisk(SIZE), "disk", connections=2)


def _memory_read_only(servers, path):
    return MemoryEndpoint(MemoryDisk(SIZE), "disk", read_only=True)


def _qcow2(servers, path):
    return NbdEndpoint([servers.qemu_nbd(qcow2(path / "a.qcow2", SIZE), "qcow2").uri] * 2, "disk", timeout=20)


def _overlay(servers, path):
    qcow2(path / "base.qcow2", SIZE)
    image = qcow2(path / "a.qcow2", SIZE, "-b", "base.qcow2", "-F", "qcow2")
    return NbdEndpoint([servers.qemu_nbd(image, "qcow2").uri] * 2, "disk", timeout=20)


def _raw(servers, path):
    return NbdEndpoint([servers.qemu_nbd(raw(path / "a.raw", SIZE), "raw").uri] * 2, "disk", timeout=20)


def _raw_read_only(servers, path):
    server = servers.qemu_nbd(raw(path / "a.raw", SIZE), "raw", "--read-only")
    return NbdEndpoint([server.uri], "disk", timeout=20)


def _nbdkit(*filters, settings=()):
    def make(servers, path):
        server = servers.nbdkit(*(f"--filter={name}" for name in filters), "memory", str(SIZE), *settings)
        return NbdEndpoint([server.uri] * 2, "disk", timeout=20)

    return make


WRITABLE = {
    "memory": _memory,
    "qemu-nbd-qcow2": _qcow2,
    "qemu-nbd-overlay": _overlay,
    "qemu-nbd-raw": _raw,
    "nbdkit": _nbdkit(),
    "nbdkit-64K-requests": _nbdkit(
        "blocksize-policy",
        settings=(
            "blocksize-minimum=512",
            "blocksize-preferred=4K",
            "blocksize-maximum=64K",
            "blocksize-error-policy=error",
        ),
    ),
    "nbdkit-no-zero-no-extents": _nbdkit("nozero", "noextents"),
}
NO_EXTENTS = {"nbdkit-no-zero-no-extents"}


@pytest.fixture(params=WRITABLE, ids=str)
def endpoint(request, servers, tmp_path):
    made = WRITABLE[request.param](servers, tmp_path)
    yield made
    made.close()


class Driver:
    """Requests to an endpoint, one after the other."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        self.traffic = Traffic(threading.Event(), stall_timeout=20)

    def finish(self):
        while self.traffic.busy:
            self.traffic.turn()

    def read(self, offset, length):
        content = memoryview(bytearray(b"\xa5" * length))
        self.traffic.read(self.endpoint, offset, content, lambda: None)
        self.finish()
        return bytes(content)

    def write(self, offset, content):
        self.traffic.write(self.endpoint, offset, memoryview(content), lambda: None)
        self.finish()

    def zero(self, offset, length):
        self.traffic.zero(self.endpoint, offset, length, lambda: None)
        self.finish()

    def flush(self):
        self.traffic.flush(self.endpoint, lambda: None)
        self.finish()

    def extents(self, offset, length):
        found = []
        self.traffic.extents(self.endpoint, offset, length, found.extend)
        self.finish()
        return found


@pytest.fixture
def disk(endpoint):
    return Driver(endpoint)


@functools.cache
def _content(length, seed=1):
    return random.Random(seed).randbytes(length)


def test_size_is_to_the_byte_and_writing_is_possible(endpoint):
    assert endpoint.abilities.size == SIZE
    assert not endpoint.abilities.read_only
    assert endpoint.abilities.can_flush
    assert 0 < endpoint.abilities.max_request <= 32 * MiB


def test_a_new_disk_reads_as_zeroes(disk):
    assert disk.read(5 * MiB, MiB) == bytes(MiB)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(0, MiB, id="first-block"),
        pytest.param(3 * MiB + 512, 4 * KiB, id="4K-in-a-block"),
        pytest.param(SIZE - 512, 512, id="last-sector"),
        pytest.param(MiB, 33 * MiB, id="longer-than-a-request-may-be"),
    ],
)
def test_what_was_written_reads_back(disk, offset, length):
    disk.write(offset, _content(length))
    disk.flush()
    assert disk.read(offset, length) == _content(length)
    if offset:
        assert disk.read(offset - 512, 512) == bytes(512)


def test_zeroed_reads_as_zeroes_and_the_rest_stays(disk):
    for offset in (0, 20 * MiB, 34 * MiB):
        disk.write(offset, _content(MiB))
    disk.zero(4 * KiB, 34 * MiB)
    assert disk.read(4 * KiB, 34 * MiB) == bytes(34 * MiB)
    assert disk.read(0, 4 * KiB) == _content(MiB)[: 4 * KiB]
    assert disk.read(34 * MiB + 4 * KiB, 4 * KiB) == _content(MiB)[4 * KiB : 8 * KiB]


def test_extents_cover_the_range_exactly_and_never_call_content_zero(disk):
    disk.write(10 * MiB + 64 * KiB, _content(4 * KiB))
    for offset, length in [(0, SIZE), (10 * MiB, MiB), (10 * MiB + 66 * KiB, 512), (48 * MiB, 512)]:
        extents = disk.extents(offset, length)
        assert extents[0].offset == offset
        assert extents[-1].end == offset + length
        assert all(one.end == other.offset for one, other in itertools.pairwise(extents))
        for extent in extents:
            assert not extent.zero or disk.read(extent.offset, extent.length) == bytes(extent.length)


def test_extents_know_what_was_never_written(disk, request):
    if request.node.callspec.params["endpoint"] in NO_EXTENTS:
        assert disk.extents(0, SIZE) == [Extent(0, SIZE, False)]
        return
    disk.write(10 * MiB, _content(MiB))
    disk.flush()
    runs = by_blocks(disk.extents(0, SIZE), 0, SIZE)
    assert runs == [Blocks(0, 10 * MiB, 0), Blocks(10 * MiB, MiB, WHOLE), Blocks(11 * MiB, SIZE - 11 * MiB, 0)]


def test_many_requests_in_flight_each_complete_once(endpoint):
    driver = Driver(endpoint)
    blocks = [memoryview(_content(64 * KiB, seed)) for seed in range(64)]
    completed = []
    for number, block in enumerate(blocks):
        driver.traffic.write(endpoint, number * 64 * KiB, block, lambda number=number: completed.append(number))
        assert number not in completed, "a completion must not run inside the verb"
    driver.finish()
    assert sorted(completed) == list(range(64))
    assert driver.read(0, 64 * 64 * KiB) == b"".join(blocks)
    assert all(channel.in_flight == 0 for channel in endpoint.channels)


def test_writes_of_one_channel_are_seen_by_the_others_after_a_flush(endpoint):
    if not endpoint.abilities.multi_conn:
        assert len(endpoint.channels) == 1
        return
    first, second = endpoint.channels
    told = []
    first.write(0, memoryview(_content(MiB)), told.append)
    _advance(first)
    first.flush(told.append)
    _advance(first)
    content = memoryview(bytearray(MiB))
    second.read(0, content, told.append)
    _advance(second)
    assert told == [None, None, None]
    assert content == _content(MiB)


def _advance(channel):
    while channel.in_flight:
        poller = select.poll()
        if channel.wanted():
            poller.register(channel.fileno(), channel.wanted())
        ready = poller.poll(20_000 if channel.wanted() else 0)
        channel.advance(ready[0][1] if ready else 0)


def test_a_read_past_the_end_is_refused_with_verb_and_offset(disk):
    with pytest.raises(RequestFailed, match=f"disk failed: read of 1.0 KiB at offset {SIZE - 512}: ") as failed:
        disk.read(SIZE - 512, 1024)
    assert (failed.value.verb, failed.value.offset, failed.value.transient) == ("read", SIZE - 512, False)


@pytest.mark.parametrize("make", [_memory_read_only, _raw_read_only], ids=["memory", "qemu-nbd"])
def test_a_read_only_endpoint_refuses_writes(servers, tmp_path, make):
    endpoint = make(servers, tmp_path)
    assert endpoint.abilities.read_only
    with pytest.raises(RequestFailed, match="disk failed: write of 512 B at offset 0: "):
        Driver(endpoint).write(0, bytes(512))
    with pytest.raises(RequestFailed, match="disk failed: zero of 512 B at offset 0: "):
        Driver(endpoint).zero(0, 512)
    endpoint.close()
