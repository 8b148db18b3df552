"""Reads an uploaded stream as an ESXi host does: what it refuses, and what its checksums cover.

Refused are another format, version 1 ("sparse VMDK version too old", cot issue 65), a stream without its end
marker (qemu issue 1357) and grains out of order (open-vmdk sorts them since 2025-07). An ESXi 8.0.1 hashes
through the sector of the end marker: the zeroes that qemu-img leaves behind it are not covered (KidCarmi/
Culvert, docs of its ESXi lab).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from runner.base.units import MiB
from steps.lab.simulator.nfc import stream_format
from steps.lab.simulator.nfc.stream_format import END_OF_STREAM, GRAIN, MAGIC, SECTOR, VERSION, ZLIB, Header
from steps.lab.simulator.nfc.tally import Tally

LONGEST_HEAD = 64 * MiB
"""Before the first grain: the tables of 16 TiB."""

LARGEST_GRAIN = 2 * GRAIN
"""Compressed; what zlib cannot compress becomes but little larger."""

_OTHER_FORMAT = "Not a supported disk format ({})"


class StreamRefused(Exception):
    """The stream is not one that an ESXi host takes; the message is what it answers."""


class Incoming(Tally):
    """A request's body, of which exact lengths are taken; what was taken is noted."""

    def __init__(self, chunks: Iterable[bytes], algorithm: str) -> None:
        super().__init__(algorithm)
        self._chunks = iter(chunks)
        self._left = bytearray()

    def take(self, length: int) -> bytes:
        """Raises StreamRefused where the body ends before that."""
        while len(self._left) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise StreamRefused("The stream ended before its end marker")
            self._left += chunk
        taken = bytes(memoryview(self._left)[:length])
        del self._left[:length]
        self.note(taken)
        return taken

    def skip(self, sectors: int) -> None:
        for _ in range(sectors):
            self.take(SECTOR)

    def rest(self) -> Iterator[bytes]:
        """What was not taken, and is not noted."""
        if self._left:
            yield bytes(self._left)
        yield from self._chunks


def read_header(incoming: Incoming) -> Header:
    """The header, with the descriptor and tables skipped up to the first grain. Raises StreamRefused."""
    header = Header.unpack(incoming.take(SECTOR))
    if header.magic != MAGIC:
        raise StreamRefused(_OTHER_FORMAT.format("invalid sparse VMDK header"))
    if header.version < VERSION:
        raise StreamRefused(_OTHER_FORMAT.format("sparse VMDK version too old"))
    streamed = header.flags & stream_format.COMPRESSED_WITH_MARKERS == stream_format.COMPRESSED_WITH_MARKERS
    if header.version > VERSION or not streamed or header.compression != ZLIB:
        raise StreamRefused(_OTHER_FORMAT.format("sparse VMDK is not streamOptimized"))
    if header.grain * SECTOR != GRAIN or not 0 < header.overhead * SECTOR <= LONGEST_HEAD:
        raise StreamRefused(_OTHER_FORMAT.format("invalid sparse VMDK header"))
    incoming.skip(header.overhead - 1)
    return header


def read_grains(incoming: Incoming, header: Header) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each grain up to the end marker; the last one ends with the disk. Raises
    StreamRefused."""
    capacity, expected = header.capacity * SECTOR, 0
    while True:
        first = incoming.take(SECTOR)
        value, size, kind = stream_format.unpack_marker(first)
        if size:
            offset = value * SECTOR
            if offset < expected or offset % GRAIN or offset >= capacity:
                raise StreamRefused(f"The grain at sector {value} is out of order")
            if size > LARGEST_GRAIN:
                raise StreamRefused(f"The grain at sector {value} has {size} bytes compressed")
            expected = offset + GRAIN
            sectors = -(-(12 + size) // SECTOR)
            packed = first + incoming.take((sectors - 1) * SECTOR)
            yield offset, _inflated(packed[12 : 12 + size], value, min(GRAIN, capacity - offset))
        elif kind == END_OF_STREAM and not any(first):
            return
        elif kind in (stream_format.TABLE, stream_format.DIRECTORY, stream_format.FOOTER):
            incoming.skip(value)
        else:
            raise StreamRefused(f"There is no marker of type {kind}")


def _inflated(packed: bytes, sector: int, length: int) -> bytes:
    """`length` bytes; a grain that reaches beyond the disk's end may be whole."""
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(packed, GRAIN + 1)
    except zlib.error as error:
        raise StreamRefused(f"The grain at sector {sector} does not decompress: {error}") from error
    if not engine.eof or len(plain) not in (length, GRAIN):
        raise StreamRefused(f"The grain at sector {sector} has not {length} bytes")
    return plain[:length]
