"""A kernel image (bzImage) whose kernel is not compressed: Debian's is xz, and to unpack that is half of what a boot costs under
TCG. The kernel itself stays as it is, byte for byte."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator
from pathlib import Path

from runner.base.units import KiB, MiB
from tests.guests.assembled import assembled

ENTRY = Path(__file__).parent / "kernel_entry.S"

# Of the setup header (Linux, Documentation/arch/x86/boot.rst).
_SETUP_SECTORS, _SYSTEM_SIZE, _CODE32_START, _XLOADFLAGS, _PAYLOAD, _INIT_SIZE = (
    *(0x1F1, 0x1F4, 0x214, 0x236, 0x248, 0x260),
)
_LOADED_AT = MiB
"""What `code32_start` counts from."""


def without_compression(image: bytes) -> bytes:
    """The image itself where its kernel is compressed by something else than xz."""
    setup_size = (image[_SETUP_SECTORS] + 1) * 512
    at, size = struct.unpack_from("<II", image, _PAYLOAD)
    payload = image[setup_size + at : setup_size + at + size]
    if not payload.startswith(b"\xfd7zXZ\0"):
        return image
    # The decompressor's own four bytes follow: how large it becomes.
    kernel = _in_memory(lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload))
    kernel += bytes(-len(kernel) % (4 * KiB))
    setup = bytearray(image[:setup_size])
    setup[:2] = bytes(2)  # it is no program of EFI's any more
    struct.pack_into("<I", setup, _SYSTEM_SIZE, (len(kernel) + 4 * KiB) // 16)
    struct.pack_into("<I", setup, _CODE32_START, _LOADED_AT + len(kernel))
    struct.pack_into("<H", setup, _XLOADFLAGS, 0)
    struct.pack_into("<II", setup, _PAYLOAD, 0, 0)
    # GRUB copies that much, too: what the kernel clears for itself behind its image is free at that time anyhow.
    struct.pack_into("<II", setup, _INIT_SIZE, len(kernel) + 32 * KiB, 0)
    entry = assembled(ENTRY, OFFSET=str(len(kernel)))
    return bytes(setup) + kernel + entry.ljust(4 * KiB, b"\0")


def _in_memory(elf: bytes) -> bytes:
    """As it lies there, from its first segment on, without the zeros at its end."""
    segments = [(to, content) for to, content in _segments(elf)]
    start = min(to for to, _ in segments)
    memory = bytearray()
    for to, content in sorted(segments):
        memory += bytes(to - start - len(memory)) + content
    return bytes(memory.rstrip(b"\0"))


def _segments(elf: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that are loaded: physical address, content (System V ABI, ELF-64)."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    (count,) = struct.unpack_from("<H", elf, 56)
    for number in range(count):
        kind, _, at, _, physical, size = struct.unpack_from("<IIQQQQ", elf, table + 56 * number)
        if kind == 1:
            yield physical, elf[at : at + size]
