"""streamOptimized VMDKs: the header and the markers ("Virtual Disk Format 5.0", VMware).

A stream is whole sectors: header, descriptor, then grains (each a marker with its place, its size, and zlib's
bytes), tables that a reader of streams skips, and a sector of zeroes at its end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runner.base.units import KiB

SECTOR = 512
GRAIN = 64 * KiB
ENTRIES = 512
"""Grains in a table."""
MAGIC = b"KDMV"
VERSION = 3
NEWLINES_GRAINS_MARKERS = 0x30001
"""Flags: the newline test is valid, grains are compressed, there are markers."""
COMPRESSED_WITH_MARKERS = 0x30000
ZLIB = 1
AT_END = 0xFFFF_FFFF_FFFF_FFFF
"""The header's place of the directory where that is in the footer."""
NEWLINES = b"\n \r\n"

END_OF_STREAM, TABLE, DIRECTORY, FOOTER = range(4)
"""Types of markers without data."""

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_GRAIN = struct.Struct("<QI")
_MARKER = struct.Struct("<QII496x")


@dataclass(frozen=True)
class Header:
    """Lengths and places are sectors."""

    capacity: int
    directory: int
    overhead: int
    """Where grains begin."""
    grain: int = GRAIN // SECTOR
    version: int = VERSION
    flags: int = NEWLINES_GRAINS_MARKERS
    compression: int = ZLIB
    magic: bytes = MAGIC

    @classmethod
    def unpack(cls, sector: bytes) -> Header:
        magic, version, flags, capacity, grain, _, _, _, _, directory, overhead, _, _, compression = (
            _HEADER.unpack(sector)
        )
        return cls(capacity, directory, overhead, grain, version, flags, compression, magic)

    def pack(self, descriptor_size: int) -> bytes:
        return _HEADER.pack(
            self.magic,
            self.version,
            self.flags,
            self.capacity,
            self.grain,
            1,
            descriptor_size,
            ENTRIES,
            0,
            self.directory,
            self.overhead,
            0,
            NEWLINES,
            self.compression,
        )


def marker(sectors: int, kind: int) -> bytes:
    """Before `sectors` of metadata."""
    return _MARKER.pack(sectors, 0, kind)


def grain(sector: int, compressed: bytes) -> bytes:
    return padded(_GRAIN.pack(sector, len(compressed)) + compressed)


def unpack_marker(sector: bytes) -> tuple[int, int, int]:
    """Its value, the size of its data, and its type where that is 0."""
    value, size, kind = _MARKER.unpack(sector)
    return value, size, kind


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % SECTOR)
