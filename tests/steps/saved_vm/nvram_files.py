"""NVRAM files as public notes tell of VMware's: nobody outside has its documentation."""

from __future__ import annotations

import random


def ucs2(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def vmware(*paths: str) -> bytes:
    """With a boot entry for each of `paths`, between what is in such a file as well."""
    chance = random.Random(1)
    parts = [b"MRVN\x01\0\0\0", chance.randbytes(8684), b"EFI_NV", b"VMWNVRAM"]
    for number, path in enumerate(paths):
        node = b"\x04\x04" + (len(ucs2(path)) + 4).to_bytes(2, "little") + ucs2(path) + b"\x7f\xff\x04\0"
        parts += [ucs2(f"Boot{number:04X}"), b"\x01\0\0\0", ucs2("an entry"), node, chance.randbytes(number)]
    return b"".join(parts).ljust(270_840, b"\xff")
