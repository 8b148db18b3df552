"""What a streamOptimized VMDK is made of. All numbers are little-endian, places and lengths are in sectors.

    sector 0     header: its grain directory is "at the end"
    sector 1     descriptor, text
    sector 128   grains in ascending order; behind those of each 32 MiB, their table
                 directory: where the tables are · footer: the header, with the directory's place · end

Facts: VMware, Virtual Disk Format 5.0 (markers, footer); open-vmdk and VirtualBox (what ESXi takes).
Version 1 is refused by ESXi, and so is a stream without its end marker.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runner.base.units import KiB

SECTOR = 512
GRAIN = 64 * KiB
"""Bytes of the disk that are compressed by themselves: 128 sectors, which is what ESXi takes and makes."""
ENTRIES = 512
"""Grains of a table, 32 MiB of the disk: "disklib supports only 512" (open-vmdk, sparse.c)."""
OVERHEAD = 128
"""Sectors ahead of the first grain, as VMware's own streams have them."""
LARGEST = (1 << 32) * SECTOR
"""Bytes of a stream: a table has 32 bits for a grain's sector."""

_MAGIC = b"KDMV"
_VERSION = 3
_FLAGS = 0x30001
"""The line-end test below is there; grains are compressed; markers stand before grains and tables."""
_COMPRESSED_WITH_MARKERS = 0x30000
_DEFLATE = 1
_LINE_ENDS = b"\n \r\n"
"""Broken by a transfer as text."""
_AT_THE_END = (1 << 64) - 1
_DESCRIPTOR_SECTORS = 20
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")

GRAIN_MARKER = struct.Struct("<QI")
"""First sector of the disk that the grain has; bytes of its zlib stream, which follows at once."""
MARKER = struct.Struct("<QII496x")
"""Sectors that follow; 0, where a grain has its size; what follows. A sector of its own."""
END, TABLE, DIRECTORY, FOOTER = range(4)


class NotAStream(ValueError):
    """`str` says why, after ``it``."""


@dataclass(frozen=True)
class Header:
    """`capacity` of the disk and `grain` in bytes; `overhead` bytes ahead of the first grain."""

    capacity: int
    grain: int
    overhead: int


def header(capacity: int, directory: int = _AT_THE_END) -> bytes:
    """A sector. `capacity` in bytes; `directory`: where it is, for the footer."""
    return _HEADER.pack(
        _MAGIC,
        _VERSION,
        _FLAGS,
        capacity // SECTOR,
        GRAIN // SECTOR,
        1,
        _DESCRIPTOR_SECTORS,
        ENTRIES,
        0,
        directory,
        OVERHEAD,
        0,
        _LINE_ENDS,
        _DEFLATE,
    )


def read_header(sector: bytes) -> Header:
    """Of streams of others too. Raises NotAStream."""
    found = _HEADER.unpack(sector)
    magic, version, flags, capacity, grain, overhead = *found[:5], found[10]
    if magic != _MAGIC:
        raise NotAStream("does not begin as a sparse VMDK does")
    if not 1 <= version <= _VERSION:
        raise NotAStream(f"is of version {version}, which is unknown here")
    if flags & _COMPRESSED_WITH_MARKERS != _COMPRESSED_WITH_MARKERS or found[13] != _DEFLATE:
        raise NotAStream("is a sparse VMDK but no stream of compressed grains")
    if flags & 1 and found[12] != _LINE_ENDS:
        raise NotAStream("has line ends that a transfer as text has changed")
    if not 0 < grain <= GRAIN // SECTOR or grain & grain - 1:
        raise NotAStream(f"has grains of {grain} sectors, where a power of two up to 128 is usual")
    if not overhead or overhead > LARGEST // SECTOR:
        raise NotAStream(f"has its first grain at sector {overhead}")
    return Header(capacity * SECTOR, grain * SECTOR, overhead * SECTOR)


def descriptor(capacity: int, content_id: int) -> bytes:
    """What stands between header and first grain. The geometry is the usual one beyond 4 GiB, and the
    adapter "lsilogic" whatever the disk's controller is (open-vmdk, sparse.c; VMware's own exports)."""
    sectors = capacity // SECTOR
    text = (
        "# Disk DescriptorFile\n"
        "version=1\n"
        f"CID={content_id:08x}\n"
        "parentCID=ffffffff\n"
        'createType="streamOptimized"\n'
        "\n"
        "# Extent description\n"
        f'RW {sectors} SPARSE "disk.vmdk"\n'
        "\n"
        "# The Disk Data Base\n"
        "#DDB\n"
        "\n"
        'ddb.virtualHWVersion = "4"\n'
        f'ddb.geometry.cylinders = "{min(65535, -(-sectors // (255 * 63)))}"\n'
        'ddb.geometry.heads = "255"\n'
        'ddb.geometry.sectors = "63"\n'
        'ddb.adapterType = "lsilogic"\n'
    )
    return text.encode().ljust((OVERHEAD - 1) * SECTOR, b"\0")


def padded(content: bytes) -> bytes:
    """To whole sectors."""
    return content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0")
