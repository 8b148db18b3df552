"""A disk with a GUID partition table and a protective MBR (UEFI 2.10, chapter 5): a sparse raw file, always the same for the
same partitions."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.units import MiB

SECTOR = 512
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

_NAMESPACE = uuid.UUID("5b1a8f0e-6d3c-4d57-9a29-1f0c8a52e3d4")
_ENTRIES, _ENTRY_SIZE = 128, 128


@dataclass(frozen=True)
class Partition:
    """Of `size` bytes from the byte `start` on."""

    name: str
    kind: uuid.UUID
    start: int
    size: int

    @property
    def uuid(self) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, self.name)


def write(path: Path, size: int, partitions: Sequence[Partition]) -> None:
    """The rest reads as zeros."""
    assert size % MiB == 0
    begin, end = tables(size, partitions)
    with path.open("wb") as file:
        file.truncate(size)
        file.write(begin)
        file.seek(size - len(end))
        file.write(end)


def tables(size: int, partitions: Sequence[Partition], sector: int = SECTOR) -> tuple[bytes, bytes]:
    """What is at the beginning of a disk with sectors of that size, and at its end."""
    sectors = size // sector
    table = b"".join(_entry(one, sector) for one in partitions).ljust(_ENTRIES * _ENTRY_SIZE, b"\0")
    used = len(table) // sector

    def header(mine: int, other: int, table_at: int) -> bytes:
        return _header(mine, other, (2 + used, sectors - 2 - used), table_at, table).ljust(sector, b"\0")

    begin = _protective_mbr(sectors).ljust(sector, b"\0") + header(1, sectors - 1, 2) + table
    return begin, table + header(sectors - 1, 1, sectors - 1 - used)


def _entry(one: Partition, sector: int) -> bytes:
    first, last = one.start // sector, (one.start + one.size) // sector - 1
    name = one.name.encode("utf-16-le")
    return struct.pack("<16s16sQQQ72s", one.kind.bytes_le, one.uuid.bytes_le, first, last, 0, name)


def _header(mine: int, other: int, usable: tuple[int, int], table_at: int, table: bytes) -> bytes:
    disk = uuid.uuid5(_NAMESPACE, "disk").bytes_le
    sums = zlib.crc32(table)

    def packed(crc: int) -> bytes:
        head = struct.pack("<8sIIII", b"EFI PART", 0x10000, 92, crc, 0)
        return head + struct.pack("<QQQQ16sQIII", mine, other, *usable, disk, table_at, _ENTRIES, _ENTRY_SIZE, sums)

    return packed(zlib.crc32(packed(0)))


def _protective_mbr(sectors: int) -> bytes:
    entry = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, sectors - 1)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"
