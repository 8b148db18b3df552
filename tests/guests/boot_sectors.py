"""Boot sectors that do one thing each, and disks that begin with one: half a CPU second a boot, where a Linux takes ten
times that. `boot_sector.S` is their source.

    disk(tmp_path / "disk.raw", sector("prints", "login:"), 64 * MiB)
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from runner.base.units import MiB
from tests.guests.assembled import assembled

SOURCE = Path(__file__).parent / "boot_sector.S"
SECTOR = 512

Deed = Literal[
    "prints",  # text on COM1, then halts
    "shows",  # text on the screen alone, then halts
    "draws",  # the same in a graphics mode, point by point
    "paints",  # a picture in VGA mode 13h, then halts
    "stops",  # a picture like Windows's stop screen, then halts
    "hangs",  # never says anything
    "powers-off",  # text on COM1, then ACPI's S5
    "reboots",  # text on COM1, then a reset, for ever
    "panics",  # tells pvpanic (port 0x505), then halts
    "floods",  # text on COM1 without end
    "writes",  # `times` 65,024 bytes of 0x5a from `lba` on, then text on COM1; times=0: without end
    "sums",  # "SUM 0123abcd" of `times` sectors from `lba` on, and text, on COM1; compare `summed`
]


@functools.cache
def sector(deed: Deed, text: str = "", *, lba: int = 1, times: int = 0) -> bytes:
    """512 bytes. Its BIOS must be SeaBIOS, for "powers-off"."""
    chosen = {deed.upper().replace("-", "_"): "1"}
    return assembled(SOURCE, start=0x7C00, **chosen, TEXT=f'"{_escaped(text)}"', LBA=str(lba), TIMES=str(times))


def disk(path: Path, first: bytes, size: int = 8 * MiB) -> Path:
    """A sparse raw disk that begins so."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(size)
    return path


def summed(content: bytes) -> str:
    """What "sums" prints of it: whole sectors."""
    words = (int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4))
    return f"SUM {sum(words) % 2**32:08x}"


def _escaped(text: str) -> str:
    """As a string of the assembler's, and of the preprocessor's before it."""
    return "".join(f"\\{byte:03o}" for byte in text.encode())
