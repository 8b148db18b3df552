"""Writes a disk as an ESXi host exports it: streamOptimized with its tables behind the grains and a footer
(VMDK 5.0 specification), so that its length is known only at its end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from steps.lab.simulator.nfc import stream_format
from steps.lab.simulator.nfc.stream_format import AT_END, ENTRIES, GRAIN, SECTOR, Header, marker, padded

OVERHEAD = 128
DESCRIPTOR = 20
"""Sectors."""


def write_stream(
    capacity: int, places: Iterable[tuple[int, int]], read: Callable[[int, int], bytes]
) -> Iterator[bytes]:
    """The stream in pieces. `places`: [start, end) where data may be, ascending; `read(offset, length)` gives
    the disk's bytes. Grains of zeroes are left out."""
    header = Header(capacity // SECTOR, AT_END, OVERHEAD)
    yield header.pack(DESCRIPTOR)
    yield _descriptor(capacity).ljust((OVERHEAD - 1) * SECTOR, b"\0")
    sector = OVERHEAD
    directory = [0] * -(-capacity // (GRAIN * ENTRIES))
    table, entries = 0, [0] * ENTRIES

    def close_table() -> Iterator[bytes]:
        nonlocal sector, entries
        if any(entries):
            directory[table] = sector + 1
            piece = marker(4, stream_format.TABLE) + struct.pack(f"<{ENTRIES}I", *entries)
            sector += len(piece) // SECTOR
            entries = [0] * ENTRIES
            yield piece

    for number in _grains(places):
        plain = read(number * GRAIN, min(GRAIN, capacity - number * GRAIN))
        if not any(plain):
            continue
        if number // ENTRIES != table:
            yield from close_table()
            table = number // ENTRIES
        entries[number % ENTRIES] = sector
        piece = stream_format.grain(number * (GRAIN // SECTOR), zlib.compress(plain, 1))
        sector += len(piece) // SECTOR
        yield piece
    yield from close_table()
    packed = padded(struct.pack(f"<{len(directory)}I", *directory))
    yield marker(len(packed) // SECTOR, stream_format.DIRECTORY) + packed
    yield marker(1, stream_format.FOOTER)
    yield Header(capacity // SECTOR, sector + 1, OVERHEAD).pack(DESCRIPTOR)
    yield marker(0, stream_format.END_OF_STREAM)


def _grains(places: Iterable[tuple[int, int]]) -> Iterator[int]:
    following = 0
    for start, end in places:
        yield from range(max(following, start // GRAIN), -(-end // GRAIN))
        following = max(following, -(-end // GRAIN))


def _descriptor(capacity: int) -> bytes:
    sectors = capacity // SECTOR
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        "CID=7b3d1f0a",
        "parentCID=ffffffff",
        'createType="streamOptimized"',
        f'RDONLY {sectors} SPARSE "generated-stream.vmdk"',
        'ddb.adapterType = "lsilogic"',
        f'ddb.geometry.cylinders = "{max(1, min(65535, sectors // (255 * 63)))}"',
        'ddb.geometry.heads = "255"',
        'ddb.geometry.sectors = "63"',
        'ddb.toolsVersion = "2147483647"',
        'ddb.virtualHWVersion = "19"',
    ]
    return ("\n".join(lines) + "\n").encode()
