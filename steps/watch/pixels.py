"""Pictures as QEMU writes them, as far as they are looked into, and as small as they are kept. PPM is read
for its pixels, PNG for its size. (PNG: W3C, second edition)"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_PPM = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Pixels:
    width: int
    height: int
    rgb: bytes
    """Three bytes a pixel, from the upper left."""

    def at(self, across: int, down: int) -> bytes:
        place = 3 * (down * self.width + across)
        return self.rgb[place : place + 3]


def size(png: bytes) -> tuple[int, int]:
    """Width and height; 0 and 0 for what is no PNG. (PNG specification, IHDR)"""
    if not png.startswith(_PNG) or len(png) < 24:
        return 0, 0
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def pixels(ppm: bytes) -> Pixels | None:
    """None for what is no PPM, or not all of one."""
    if (head := _PPM.match(ppm)) is None:
        return None
    width, height = int(head[1]), int(head[2])
    rgb = ppm[head.end() :]
    return Pixels(width, height, rgb) if width and height and len(rgb) == 3 * width * height else None


def changed(before: Pixels, after: Pixels) -> float:
    """Part of the pixels that are not what they were; 1 for a picture of another size."""
    if (before.width, before.height) != (after.width, after.height):
        return 1.0
    # As one number each: a loop over two million pixels takes a second.
    length = len(before.rgb)
    bits = (int.from_bytes(before.rgb) ^ int.from_bytes(after.rgb)).to_bytes(length)
    red, green, blue = (int.from_bytes(bits[colour::3]) for colour in range(3))
    same = (red | green | blue).to_bytes(length // 3).count(0)
    return 1.0 - 3 * same / length


def halved(picture: Pixels) -> Pixels:
    """Every second pixel of every second line."""
    width, height = max(1, picture.width // 2), max(1, picture.height // 2)
    rgb = bytearray(3 * width * height)
    for line in range(height):
        begin = 6 * picture.width * line
        for colour in range(3):
            points = picture.rgb[begin + colour : begin + 6 * width : 6]
            rgb[3 * width * line + colour : 3 * width * (line + 1) : 3] = points
    return Pixels(width, height, bytes(rgb))


def png(picture: Pixels) -> bytes:
    """Of eight bits a colour."""
    stride = 3 * picture.width
    lines = b"".join(b"\0" + picture.rgb[at : at + stride] for at in range(0, len(picture.rgb), stride))
    head = picture.width.to_bytes(4) + picture.height.to_bytes(4) + bytes((8, 2, 0, 0, 0))
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return _PNG + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)
