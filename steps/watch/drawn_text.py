"""Text that a console draws point by point: Linux's framebuffer console, and what a BIOS writes in a graphics
mode. Both draw a VGA's characters, 8 points wide and 16 high, in a raster from the upper left, so that each
is known exactly or left open (tried with Linux 6.1 and SeaBIOS). A console with another font is not read."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from runner.base.units import KiB
from runner.hosts.host import Host
from steps.qemu.system import QEMU_SYSTEM
from steps.watch.pixels import Pixels

WIDTH, HEIGHT = 8, 16

Font = Mapping[bytes, str]
"""WIDTH * HEIGHT points, from the upper left, 1 where there is ink, else 0 → the character."""

_ROM = "vgabios-stdvga.bin"
_LARGEST_ROM = 256 * KiB

_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
"""The letter A, a byte for each row: the font's place in the ROM."""

_LINUX = {
    "0": "0000386cc6c6d6d6c6c66c3800000000",
    "M": "0000c6eefefed6c6c6c6c6c600000000",
    "T": "00007e7e5a1818181818183c00000000",
    "V": "0000c6c6c6c6c6c6c66c381000000000",
    "X": "0000c6c66c7c38387c6cc6c600000000",
    "f": "00001c36323078303030307800000000",
    "m": "0000000000ecfed6d6d6d6c600000000",
    "v": "0000000000c6c6c6c6c66c3800000000",
    "w": "0000000000c6c6d6d6d6fe6c00000000",
    "x": "0000000000c66c3838386cc600000000",
}
"""Those that Linux draws otherwise, as they were seen on its console (6.1, VGA8x16)."""

_OPEN = "\ufffd"
"""What is no character, or none that is known; at the end of a line it is the cursor, which blinks."""

_INK = bytes(value > 0x40 for value in range(256))


def font(host: Host) -> Font:
    """Of the BIOS that this QEMU's VGA card has, a file in one of QEMU's directories; empty where that has
    none."""
    said = host.run((QEMU_SYSTEM.program, "-L", "help"), ok=None).stdout.decode(errors="replace")
    for directory in said.splitlines():
        path = posixpath.join(directory, _ROM)
        if posixpath.isabs(path) and host.exists(path):
            return _font(host.read(path, limit=_LARGEST_ROM))
    return {}


def _font(rom: bytes) -> Font:
    begin = rom.find(_A) - HEIGHT * ord("A")
    if begin < 0:
        return {}
    rows = (rom[begin + HEIGHT * code : begin + HEIGHT * (code + 1)] for code in range(0x20, 0x7F))
    known = {_points(glyph): chr(code) for code, glyph in enumerate(rows, 0x20)}
    return known | {_points(bytes.fromhex(glyph)): character for character, glyph in _LINUX.items()}


def _points(glyph: bytes) -> bytes:
    return bytes(row >> (7 - point) & 1 for row in glyph for point in range(WIDTH))


def read(picture: Pixels, characters: Font) -> tuple[str, ...] | None:
    """Its lines that are not blank; None where most of what is drawn is no such character."""
    rows = _ink_of(picture)
    lines, known, unknown = [], 0, 0
    for top in range(0, picture.height - HEIGHT + 1, HEIGHT):
        found = [characters.get(cell) for cell in _cells(rows[top : top + HEIGHT], picture.width)]
        known += sum(one is not None and one != " " for one in found)
        unknown += found.count(None)
        lines.append("".join(one or _OPEN for one in found).rstrip(f" {_OPEN}"))
    is_text = known > 2 * unknown or not (known or unknown)
    return tuple(line for line in lines if line) if is_text else None


def _ink_of(picture: Pixels) -> list[bytes]:
    """Its rows, a byte for each point."""
    bits = 0
    for colour in range(3):
        bits |= int.from_bytes(picture.rgb[colour::3].translate(_INK))
    points = bits.to_bytes(picture.width * picture.height)
    return [points[at : at + picture.width] for at in range(0, len(points), picture.width)]


def _cells(rows: list[bytes], width: int) -> list[bytes]:
    places = range(0, width - WIDTH + 1, WIDTH)
    return [b"".join([row[at : at + WIDTH] for row in rows]) for at in places]
