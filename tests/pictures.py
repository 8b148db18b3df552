"""Pictures for tests of what shows them."""

from __future__ import annotations

import struct
import zlib


def png(width: int = 64, height: int = 40, *, grey: int = 0x30, padding: int = 0) -> bytes:
    """A valid PNG of one colour; `padding`: bytes of an ancillary chunk that nobody looks at."""
    rows = (b"\0" + bytes([grey]) * width) * height
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress(rows)),
        *([_chunk(b"paDd", bytes(padding))] if padding else []),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
