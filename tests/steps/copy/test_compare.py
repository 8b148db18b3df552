import random
import threading

import pytest

from runner.base.errors import Interrupted
from runner.base.units import GiB, KiB, MiB, TiB
from steps.copy.compare import SAMPLE_BLOCKS, BlockDifference, compare, sample
from steps.copy.differences import differences
from steps.copy.digests import Digests, digest_of, zero_digest
from steps.copy.endpoint import WrongEndpoint
from steps.copy.engine import copy
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.nbd_endpoint import NbdEndpoint
from tests.nbd_servers import Servers, qcow2

SIZE = 40 * MiB + 512


def _content(length, seed=1):
    return random.Random(seed).randbytes(length)


class Copied:
    """A disk in memory and its digests."""

    def __init__(self, path, size=SIZE):
        self.disk = MemoryDisk(size)
        self.digests = Digests.create(path / "digests", size)

    def fill(self, offset, length):
        self.disk.write(offset, _content(length, seed=offset))

    def make_digests(self):
        source, target = MemoryEndpoint(self.disk, "source"), MemoryEndpoint(MemoryDisk(self.disk.size), "target")
        copy(source, target, self.digests, stop=threading.Event())

    def compare(self, **options):
        image = MemoryEndpoint(self.disk, "image", connections=2, read_only=True)
        return compare(image, self.digests, **{"stop": threading.Event(), **options})


@pytest.fixture
def copied(tmp_path):
    made = Copied(tmp_path)
    made.fill(0, 3 * MiB)
    made.fill(20 * MiB + 4 * KiB, 512)
    made.fill(40 * MiB, 512)
    made.make_digests()
    yield made
    made.digests.close()


def test_equal_bytes_compare_equal_and_holes_are_not_read(copied):
    found = copied.compare()
    assert (found.blocks, found.compared, found.read) == (41, 41, 5)


@pytest.mark.parametrize(
    ("offset", "at"),
    [
        pytest.param(0, 0, id="first-byte"),
        pytest.param(2 * MiB + 77, 2 * MiB, id="in-content"),
        pytest.param(30 * MiB + 5, 30 * MiB, id="in-a-hole"),
        pytest.param(SIZE - 1, 40 * MiB, id="last-byte"),
    ],
)
def test_one_wrong_byte_is_found_with_offset_and_digests(copied, offset, at):
    copied.disk.write(offset, bytes([_byte(copied.disk, offset) ^ 1]))
    with pytest.raises(BlockDifference) as found:
        copied.compare()
    length = min(MiB, SIZE - at)
    content = bytearray(length)
    copied.disk.read(at, memoryview(content))
    assert (found.value.offset, found.value.length) == (at, length)
    assert found.value.expected == copied.digests.expected(at).hex()
    assert found.value.found == digest_of(content).hex()
    assert found.value.exit_code == 5


def _byte(disk, offset):
    content = bytearray(1)
    disk.read(offset, memoryview(content))
    return content[0]


@pytest.mark.parametrize("kind", ["zeroed", "hole"])
def test_content_that_became_zero_is_found(copied, kind):
    if kind == "zeroed":
        copied.disk.write(MiB, bytes(MiB))
    else:
        copied.disk.zero(MiB, MiB)
    with pytest.raises(BlockDifference) as found:
        copied.compare()
    assert (found.value.offset, found.value.found) == (MiB, zero_digest(MiB).hex())


def test_of_several_differences_the_first_by_offset_is_named(copied):
    for offset in (SIZE - 1, 30 * MiB, 5 * MiB, 21 * MiB):
        copied.disk.write(offset, b"x")
    with pytest.raises(BlockDifference, match="the image differs at offset 5242880"):
        copied.compare()


def test_of_chosen_ranges_holes_on_both_sides_are_not_read(copied):
    found = copied.compare(ranges=[(MiB, 2 * MiB), (19 * MiB, 3 * MiB), (40 * MiB, 512)])
    assert (found.compared, found.read) == (6, 4)
    copied.disk.write(30 * MiB, b"x")
    copied.compare(ranges=[(0, 30 * MiB), (31 * MiB, MiB)])
    with pytest.raises(BlockDifference, match=f"offset {30 * MiB}"):
        copied.compare(ranges=[(29 * MiB, 3 * MiB)])


def test_chosen_blocks_are_read_even_where_both_sides_have_holes(copied):
    found = copied.compare(blocks=[MiB, 30 * MiB, 40 * MiB])
    assert (found.compared, found.read) == (3, 3)
    copied.disk.write(31 * MiB, b"x")
    copied.compare(blocks=[MiB, 30 * MiB])


def test_progress_ends_at_the_total(copied):
    told = []
    found = copied.compare(on_progress=told.append)
    assert (told[-1].done, told[-1].total) == (SIZE, SIZE)
    assert told[-1].read == 3 * MiB + 64 * KiB + 512, "holes of the image are not read"
    assert found.read == 5
    assert told[-1].seconds > 0


@pytest.mark.parametrize(
    ("wanted", "most", "offsets", "compared"),
    [
        pytest.param({}, 9, (0, 20, 40), 41, id="all"),
        pytest.param({}, 3, (0, 20, 40), 41, id="as many as are looked for, at the end"),
        pytest.param({}, 2, (0, 20), 21, id="no more than are looked for"),
        pytest.param({"ranges": [(0, 2 * MiB), (19 * MiB, 3 * MiB)]}, 9, (0, 20), 5, id="ranges"),
        pytest.param({"ranges": [(0, 2 * MiB), (19 * MiB, 3 * MiB)]}, 1, (0,), 1, id="ranges, the first"),
        pytest.param({"ranges": [(0, 2 * MiB), (19 * MiB, 3 * MiB)]}, 2, (0, 20), 4, id="a part of the last range"),
        pytest.param({"blocks": [0, 3 * MiB, 20 * MiB, 40 * MiB]}, 2, (0, 20), 3, id="blocks"),
        pytest.param({"ranges": []}, 9, (), 0, id="nothing"),
    ],
)
def test_all_differences_are_found_and_counted_is_what_was_compared(copied, wanted, most, offsets, compared):
    for offset in (0, 20 * MiB, 40 * MiB):
        copied.disk.write(offset, b"wrong")
    told = []
    image = MemoryEndpoint(copied.disk, "image", connections=2, read_only=True)
    found = differences(image, copied.digests, stop=threading.Event(), most=most, on_progress=told.append, **wanted)
    assert (found.offsets, found.compared) == (tuple(block * MiB for block in offsets), compared)
    assert [now.done for now in told] == sorted(now.done for now in told)
    assert len({now.total for now in told}) <= 1


def test_what_was_read_before_a_difference_counts_as_read(copied):
    whole, told = [], []
    copied.compare(on_progress=whole.append)
    copied.disk.write(0, b"wrong")
    image = MemoryEndpoint(copied.disk, "image", connections=2, read_only=True)
    differences(image, copied.digests, stop=threading.Event(), most=9, on_progress=told.append)
    assert told[-1].read >= whole[-1].read


def test_the_stop_flag_ends_a_comparison(copied):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        copied.compare(stop=stop)


def test_an_image_of_another_size_is_refused(copied):
    image = MemoryEndpoint(MemoryDisk(SIZE + 512), "image")
    with pytest.raises(WrongEndpoint, match=f"the image has {SIZE + 512} bytes but the digests are of {SIZE}"):
        compare(image, copied.digests, stop=threading.Event())


def test_a_sample_is_of_content_too_and_the_same_for_the_same_seed(tmp_path):
    with Digests.create(tmp_path / "d", TiB + 512) as digests:
        for block in range(3000):
            digests.put(512 * GiB + block * MiB, b"d" * 32)
        chosen = sample(digests, "run-1")
        assert chosen == sorted(set(chosen))
        assert chosen == sample(digests, "run-1") != sample(digests, "run-2")
        assert {0, TiB} <= set(chosen)
        assert sum(512 * GiB <= offset < 512 * GiB + 3000 * MiB for offset in chosen) >= SAMPLE_BLOCKS
        assert len(chosen) <= 2 * SAMPLE_BLOCKS + 2


def test_a_sample_of_a_small_disk_is_all_of_it(copied):
    assert sample(copied.digests, "run-1") == [block * MiB for block in range(41)]


def test_a_byte_flipped_in_a_qcow2_file_is_found_through_qemu_nbd(copied, tmp_path):
    image = qcow2(tmp_path / "image.qcow2", SIZE)
    source = MemoryEndpoint(copied.disk, "source", read_only=True)
    with Servers() as servers:
        server = servers.qemu_nbd(image, "qcow2")
        with NbdEndpoint([server.uri] * 2, "image") as target, Digests.create(tmp_path / "again", SIZE) as digests:
            copy(source, target, digests, stop=threading.Event())
        server.process.terminate()
        server.process.wait(10)
        for flipped in (False, True):
            if flipped:
                _flip(image, image.read_bytes().index(_content(3 * MiB, seed=0)[MiB : MiB + 512]) + 100)
            view = servers.qemu_nbd(image, "qcow2", "--read-only", cache="none")
            with NbdEndpoint([view.uri] * 2, "image of disk 2000") as endpoint:
                if not flipped:
                    assert compare(endpoint, copied.digests, stop=threading.Event()).compared == 41
                    continue
                with pytest.raises(BlockDifference, match="the image of disk 2000 differs at offset 1048576"):
                    compare(endpoint, copied.digests, stop=threading.Event())


def _flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_equal_blocks_are_passed_on_in_order_however_their_reads_come_in(copied, tmp_path):
    passed = {}
    copied.compare(on_equal=lambda offset, block: passed.setdefault(offset, bytes(block)), in_flight=3)
    assert list(passed) == [0, MiB, 2 * MiB, 20 * MiB, 40 * MiB]
    for offset, block in passed.items():
        there = bytearray(len(block))
        copied.disk.read(offset, memoryview(there))
        assert block == there


def test_nothing_behind_a_difference_is_passed_on(copied):
    passed = []
    copied.disk.write(MiB, b"x")
    with pytest.raises(BlockDifference):
        copied.compare(on_equal=lambda offset, block: passed.append(offset))
    assert passed == [0]
