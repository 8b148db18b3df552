"""The EFI system partitions of a disk, found as EDK2's firmware finds them: in a GPT behind a protective MBR,
else in an MBR.

Facts are of the UEFI specification 2.10: 5.2.2 (legacy MBR), 5.2.3 (protective MBR), 5.3 (GPT). A guest wrote
all that is read here: what does not add up is not there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from runner.base.units import MiB

Read = Callable[[int, int], bytes]
"""``read(offset, length)``: bytes of a disk. What it raises for what cannot be read goes to the caller."""

SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
"""The type of an EFI system partition in a GPT."""

MOST = 8
"""Partitions of one disk that are told: each takes room among the firmware's variables, and one is usual."""

_SYSTEM_IN_MBR, _PROTECTIVE = 0xEF, 0xEE

_SECTORS = (512, 4096)

_LARGEST_TABLE = 1 * MiB
"""Bytes of the entries of a table: 128 of 128 bytes are usual."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")

_ENTRY = struct.Struct("<16s16sQQ")

_RECORD = struct.Struct("<B3sB3sII")


@dataclass(frozen=True)
class Partition:
    scheme: Literal["gpt", "mbr"]
    number: int
    """From 1: its place in the table."""
    start: int
    """Its first sector."""
    sectors: int
    """Its length."""
    signature: bytes
    """16 bytes: its GUID, or the disk's signature from the MBR, which has 4."""
    sector: int = 512
    """Bytes of one, as the table counts them."""


def system_partitions(read: Read, capacity: int) -> tuple[Partition, ...]:
    """Of a disk of `capacity` bytes, in the table's order; none of a disk without a table, or with a damaged
    one: the firmware finds none there either."""
    if capacity < 2 * max(_SECTORS):
        return ()
    mbr = read(0, 512)
    if mbr[510:] != b"\x55\xaa":
        return ()
    records = [_RECORD.unpack_from(mbr, 446 + 16 * place) for place in range(4)]
    if any(kind == _PROTECTIVE for _, _, kind, _, _, _ in records):
        return next(
            (found for sector in _SECTORS if (found := _in_gpt(read, capacity, sector)) is not None), ()
        )
    return tuple(_in_mbr(mbr, records, capacity))


def _in_mbr(mbr: bytes, records: list[tuple[int, ...]], capacity: int) -> Iterator[Partition]:
    """Of the four primary ones."""
    for number, (_, _, kind, _, start, sectors) in enumerate(records, 1):
        if kind == _SYSTEM_IN_MBR and start and sectors and (start + sectors) * 512 <= capacity:
            yield Partition("mbr", number, start, sectors, mbr[440:444].ljust(16, b"\0"))


def _in_gpt(read: Read, capacity: int, sector: int) -> tuple[Partition, ...] | None:
    """None if neither the table at the beginning nor its copy at the end is whole."""
    last = capacity // sector - 1
    for at in (1, last):
        if (entries := _entries(read, capacity, sector, at)) is not None:
            return tuple(_partitions(entries, sector, last))[:MOST]
    return None


@dataclass(frozen=True)
class _Entries:
    content: bytes
    size: int


def _entries(read: Read, capacity: int, sector: int, at: int) -> _Entries | None:
    """Of the table whose header is in sector `at`; None if one of its checksums is wrong."""
    raw = read(at * sector, _HEADER.size)
    signature, _, length, crc, _, own, _, _, _, _, table, count, size, entries_crc = _HEADER.unpack(raw)
    if signature != b"EFI PART" or own != at or not _HEADER.size <= length <= sector:
        return None
    header = bytearray(read(at * sector, length))
    header[16:20] = bytes(4)
    if zlib.crc32(header) != crc or size < 128 or size % 8 or not 0 < count * size <= _LARGEST_TABLE:
        return None
    if table * sector + count * size > capacity:
        return None
    content = read(table * sector, count * size)
    return _Entries(content, size) if zlib.crc32(content) == entries_crc else None


def _partitions(entries: _Entries, sector: int, last: int) -> Iterator[Partition]:
    for number, at in enumerate(range(0, len(entries.content), entries.size), 1):
        kind, own, start, end = _ENTRY.unpack_from(entries.content, at)
        if kind == SYSTEM.bytes_le and 1 < start <= end < last:
            yield Partition("gpt", number, start, end - start + 1, own, sector)
