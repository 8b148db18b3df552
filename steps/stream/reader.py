"""Reading a disk out of a stream, grain by grain, as it comes in: with bounded memory, whatever it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from isal import isal_zlib

from runner.base.errors import SendenseError
from runner.base.units import KiB
from steps.stream.layout import (
    DIRECTORY,
    END,
    FOOTER,
    GRAIN_MARKER,
    MARKER,
    SECTOR,
    TABLE,
    NotAStream,
    read_header,
)

_PIECE = 256 * KiB


class StreamDamagedError(SendenseError):
    """`offset`: where in the stream, in bytes."""

    def __init__(self, name: str, offset: int, why: str) -> None:
        super().__init__(f"{name} is damaged at byte {offset}: it {why}")
        self.offset = offset


class StreamReader:
    """Of a stream that ``read(n)`` gives, at most `n` bytes at a time and none at its end; `name` is for
    messages. Raises StreamDamagedError, and what `read` raises."""

    def __init__(self, read: Callable[[int], bytes], name: str) -> None:
        self._read = read
        self._name = name
        self._at = 0
        """Bytes of the stream that were taken."""
        try:
            self._header = read_header(self._take(SECTOR))
        except NotAStream as error:
            raise StreamDamagedError(name, 0, str(error)) from error
        self.capacity = self._header.capacity
        """Bytes of the disk."""
        self._skip(self._header.overhead - SECTOR)

    def grains(self) -> Iterator[tuple[int, bytes]]:
        """(offset on the disk, bytes) in ascending order; what lies between them is zero. Ends with the
        stream's end marker: what ends without it was cut off."""
        following = 0
        while True:
            began = self._at
            marker = self._take(SECTOR)
            place, size = GRAIN_MARKER.unpack_from(marker)
            if not size:
                if self._is_end(marker):
                    return
                continue
            offset = place * SECTOR
            if offset < following or offset >= self.capacity or offset % self._header.grain:
                why = f"has a grain of offset {offset} where {following} or a later one is due"
                raise StreamDamagedError(self._name, began, why)
            grain = self._unpacked(began, marker, size, min(self._header.grain, self.capacity - offset))
            following = offset + self._header.grain
            yield offset, grain

    def _is_end(self, marker: bytes) -> bool:
        """Of what is no grain; passes by tables, which say nothing that the grains have not said."""
        sectors, _, kind = MARKER.unpack(marker)
        if kind == END and not sectors:
            return True
        if kind not in (TABLE, DIRECTORY, FOOTER):
            raise StreamDamagedError(self._name, self._at - SECTOR, "has neither a grain nor a table there")
        self._skip(sectors * SECTOR)
        return False

    def _unpacked(self, began: int, marker: bytes, size: int, length: int) -> bytes:
        """`length` bytes. What a last grain has beyond the disk's end is left out."""
        if size > 2 * self._header.grain:
            raise StreamDamagedError(self._name, began, f"has a grain of {size} compressed bytes")
        beyond = max(0, GRAIN_MARKER.size + size - SECTOR)
        packed = (marker + self._take(-(-beyond // SECTOR) * SECTOR))[GRAIN_MARKER.size :][:size]
        unpacking = isal_zlib.decompressobj()
        try:
            grain: bytes = unpacking.decompress(packed, self._header.grain + 1)
        except isal_zlib.IsalError as error:  # type: ignore[misc]  # a class, which its stub calls an instance
            why = f"has a grain that does not unpack ({error})"
            raise StreamDamagedError(self._name, began, why) from error
        if not unpacking.eof or unpacking.unused_data or not length <= len(grain) <= self._header.grain:
            raise StreamDamagedError(self._name, began, f"has a grain that does not unpack to {length} bytes")
        return grain[:length]

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._take(min(length, _PIECE)))

    def _take(self, length: int) -> bytes:
        pieces = []
        while length:
            piece = self._read(length)
            if not piece:
                raise StreamDamagedError(self._name, self._at, "ends there, without its end marker")
            pieces.append(piece)
            self._at += len(piece)
            length -= len(piece)
        return b"".join(pieces)
