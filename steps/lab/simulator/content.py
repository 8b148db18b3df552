"""What a disk holds at first: seeded random data in a mix of extents and holes, or the bytes of a file."""

from __future__ import annotations

import random
from pathlib import Path

from runner.base.errors import UsageError
from runner.base.units import KiB, MiB
from steps.lab.simulator.machine_spec import Content
from steps.lab.simulator.rawfile import CHUNK, RawFile

PATTERN_DATA = 64 * MiB
"""Bytes of data in a pattern at most: a disk of 64 TiB stays small on the machine that simulates it."""

EXTENTS = 48
"""Data extents of a pattern, about; more of them make no better test, fewer miss odd alignments."""

SECTOR = 512

ISLAND = 4 * KiB
"""Data alone in a hole in the middle of a pattern: what a copy that samples would miss."""


def fill(raw: RawFile, content: Content) -> None:
    """Raises UsageError for a file that cannot be read or does not fit."""
    if content.pattern is not None:
        _pattern(raw, content.pattern)
    if content.file is not None:
        _copy(raw, Path(content.file))
    for piece in content.pieces:
        offset = piece.offset if piece.offset >= 0 else raw.size + piece.offset
        if offset < 0 or offset + piece.length > raw.size:
            raise UsageError(
                f"a piece at {piece.offset} of {piece.length} bytes is not inside {raw.path.name}"
            )
        _random(raw, offset, piece.length, random.Random(piece.seed))


def _pattern(raw: RawFile, seed: int) -> None:
    """About half the disk in extents of odd sizes, 4 KiB alone in a hole, and data in the first and last
    sector."""
    source = random.Random(seed)
    island = raw.size // 2 // ISLAND * ISLAND
    length = max(SECTOR, min(raw.size // 2, PATTERN_DATA) // EXTENTS // SECTOR * SECTOR)
    stride = max(2 * length, raw.size // EXTENTS // SECTOR * SECTOR)
    for start in range(0, raw.size, stride):
        size = min(source.randrange(SECTOR, 2 * length, SECTOR), raw.size - start)
        shift = source.randrange(0, max(SECTOR, min(stride, raw.size - start) - size), SECTOR) if start else 0
        if not start or start + shift + size <= island - length or start + shift >= island + ISLAND + length:
            _random(raw, start + shift, size, source)
    _random(raw, island, min(ISLAND, raw.size - island), source)
    _random(raw, raw.size - SECTOR, SECTOR, source)


def _random(raw: RawFile, offset: int, length: int, source: random.Random) -> None:
    for start in range(offset, offset + length, CHUNK):
        raw.write(start, source.randbytes(min(CHUNK, offset + length - start)))


def _copy(raw: RawFile, path: Path) -> None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > raw.size:
                raise UsageError(f"{path} has {size} bytes, more than the {raw.size} of {raw.path.name}")
            for offset in range(0, size, CHUNK):
                chunk = file.read(CHUNK)
                if any(chunk):
                    raw.write(offset, chunk)
    except OSError as error:
        raise UsageError(
            f"{path}, the content of {raw.path.name}, cannot be read: {error.strerror}"
        ) from error
