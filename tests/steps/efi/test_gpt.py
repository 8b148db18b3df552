"""EFI system partitions are found as the firmware finds them, whatever a guest has written there."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.units import KiB
from steps.efi import gpt
from steps.efi.gpt import Partition
from tests.guests import gpt_disk
from tests.guests.gpt_disk import EFI_SYSTEM, LINUX

UNIT = 32 * KiB
"""A table with sectors of 4 KiB takes 24."""

CAPACITY = 64 * UNIT


class Disk:
    def __init__(self, content: bytes | bytearray) -> None:
        self.content = bytearray(content)
        self.asked = 0

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(self.content), "what is not on the disk is not read"
        self.asked += length
        return bytes(self.content[offset : offset + length])

    @property
    def found(self) -> tuple[Partition, ...]:
        return gpt.system_partitions(self.read, len(self.content))


USUAL = [
    gpt_disk.Partition("root", LINUX, 1 * UNIT, 7 * UNIT),
    gpt_disk.Partition("files", EFI_SYSTEM, 8 * UNIT, 8 * UNIT),
]


def with_gpt(sector: int = 512, partitions: Sequence[gpt_disk.Partition] = USUAL) -> Disk:
    begins, ends = gpt_disk.tables(CAPACITY, partitions, sector)
    disk = Disk(bytes(CAPACITY))
    disk.content[: len(begins)] = begins
    disk.content[-len(ends) :] = ends
    return disk


def a_system_partition(start: int, size: int) -> Disk:
    return with_gpt(partitions=[gpt_disk.Partition("files", EFI_SYSTEM, start, size)])


def with_mbr(*records: tuple[int, int, int]) -> Disk:
    """Each with its type, first sector and sectors."""
    disk = Disk(bytes(CAPACITY))
    disk.content[440:444] = b"\xde\xad\xbe\xef"
    for place, (kind, start, sectors) in enumerate(records):
        struct.pack_into("<4xB3xII", disk.content, 446 + 16 * place, kind, start, sectors)
    disk.content[510:512] = b"\x55\xaa"
    return disk


@pytest.mark.parametrize("sector", [512, 4096])
def test_that_of_a_gpt_has_its_number_guid_and_sectors(sector: int) -> None:
    start, sectors = 8 * UNIT // sector, 8 * UNIT // sector
    assert with_gpt(sector).found == (Partition("gpt", 2, start, sectors, USUAL[1].uuid.bytes_le, sector),)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("damaged", ["header", "entries"])
def test_a_damaged_table_is_replaced_by_its_copy_at_the_end(sector: int, damaged: str) -> None:
    whole, disk = with_gpt(sector), with_gpt(sector)
    disk.content[sector + 40 if damaged == "header" else 2 * sector + 128] ^= 1
    assert disk.found == whole.found != ()


def test_where_both_are_damaged_there_is_none() -> None:
    disk = with_gpt()
    disk.content[512] ^= 1
    disk.content[-512] ^= 1
    assert disk.found == ()


@pytest.mark.parametrize("gone", [slice(0, 512), slice(450, 451)], ids=["zeroed", "not protective"])
def test_without_its_protective_mbr_a_gpt_is_none(gone: slice) -> None:
    disk = with_gpt()
    disk.content[gone] = bytes(len(disk.content[gone]))
    assert disk.found == ()


def test_that_of_an_mbr_has_the_disks_signature() -> None:
    disk = with_mbr((0x83, 64, 64), (0xEF, 128, 256))
    assert disk.found == (Partition("mbr", 2, 128, 256, b"\xde\xad\xbe\xef" + bytes(12)),)


@pytest.mark.parametrize(
    "disk",
    [
        with_mbr((0xEF, 0, 256)),
        with_mbr((0xEF, 128, 0)),
        with_mbr((0xEF, 128, 0xFFFFFFFF)),
        a_system_partition(16 * UNIT, -8 * UNIT),
        a_system_partition(16 * UNIT, 2 * CAPACITY),
        a_system_partition(0, 8 * UNIT),
        with_gpt(partitions=[]),
        Disk(b""),
        Disk(b"\x55" * 512),
    ],
    ids=["mbr: at its start", "mbr: empty", "mbr: beyond", "backwards", "beyond", "at its start", "none", "0", "512"],
)
def test_what_does_not_add_up_is_not_there(disk: Disk) -> None:
    assert disk.found == ()


def test_only_so_many_are_told() -> None:
    many = [gpt_disk.Partition(str(at), EFI_SYSTEM, at * UNIT, UNIT) for at in range(1, 60)]
    assert len(with_gpt(partitions=many).found) == gpt.MOST


@pytest.mark.parametrize(
    ("at", "value"),
    [(12, 2**32 - 1), (12, 0), (72, 2**64 - 1), (80, 2**32 - 1), (84, 2**32 - 1), (84, 0), (84, 1)],
    ids=["header's length", "no length", "place", "count", "size", "no size", "size 1"],
)
def test_a_table_that_claims_too_much_is_damaged_and_little_is_read(at: int, value: int) -> None:
    disk = with_gpt()
    for header in (512, CAPACITY - 512):
        struct.pack_into("<Q" if at == 72 else "<I", disk.content, header + at, value)
        struct.pack_into("<I", disk.content, header + 16, 0)
        struct.pack_into("<I", disk.content, header + 16, zlib.crc32(disk.content[header : header + 92]))
    assert disk.found == ()
    assert disk.asked < 4096


def test_what_cannot_be_read_is_not_taken_for_absent() -> None:
    def broken(offset: int, length: int) -> bytes:
        raise OSError("Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        gpt.system_partitions(broken, CAPACITY)


@settings(max_examples=200, deadline=None)
@given(st.integers(), st.integers(1, 64), st.sampled_from([512, 4096]))
def test_no_bytes_break_it(seed: int, flips: int, sector: int) -> None:
    disk, chance = with_gpt(sector), random.Random(seed)
    for _ in range(flips):
        disk.content[chance.choice((0, sector, 2 * sector)) + chance.randrange(512)] = chance.randrange(256)
    for partition in disk.found:
        assert 0 < partition.start * partition.sector < CAPACITY
        assert (partition.start + partition.sectors) * partition.sector <= CAPACITY
