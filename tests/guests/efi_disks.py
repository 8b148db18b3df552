"""Disks that EFI boots from, without root and loop devices: a GPT with one EFI system partition, whose file system is
FAT16, and what lies there.

    disk(tmp_path / "disk.raw", {"EFI/debian/shimx64.efi": application("an application was started")})
"""

from __future__ import annotations

import functools
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runner.base.units import MiB
from tests.guests import gpt_disk
from tests.guests.gpt_disk import EFI_SYSTEM, Partition

SOURCE = Path(__file__).parent / "efi_application.S"

Files = Mapping[str, bytes]
"""Path with slashes, each name of 8 and 3 characters at most → its content, which is not empty."""


@functools.cache
def application(text: str) -> bytes:
    """A PE32+ program that says `text` on COM1, and turns the machine off."""
    with tempfile.TemporaryDirectory() as scratch:
        made, linked = f"{scratch}/application.o", Path(scratch, "application.efi")
        escaped = "".join(f"\\{byte:03o}" for byte in text.encode())
        subprocess.run(["gcc", "-c", f'-DTEXT="{escaped}"', SOURCE, "-o", made], check=True)
        subprocess.run(["ld", "-Ttext=0", "-e", "0", "--oformat=binary", made, "-o", linked], check=True)
        return linked.read_bytes()


def disk(path: Path, files: Files, *, capacity: int = 32 * MiB) -> Path:
    """Its EFI system partition begins at 1 MiB and takes all but the last."""
    partition = Partition("files", EFI_SYSTEM, 1 * MiB, capacity - 2 * MiB)
    gpt_disk.write(path, capacity, [partition])
    with path.open("r+b") as file:
        file.seek(partition.start)
        file.write(fat16(partition.size, files))
    return path


def fat16(size: int, files: Files) -> bytes:
    """A file system of `size` bytes, as short as what is in it (Microsoft's FAT specification, 2005)."""
    return _Fat16(size, files).content


class _Fat16:
    ROOT_ENTRIES = 512

    def __init__(self, size: int, files: Files) -> None:
        self.per_cluster = next(count for count in (1, 2, 4, 8, 16, 32, 64) if size // (512 * count) < 65000)
        self.cluster = 512 * self.per_cluster
        self.table_sectors = (size // self.cluster + 2) * 2 // 512 + 1
        first = 1 + self.table_sectors + self.ROOT_ENTRIES * 32 // 512
        assert (size // 512 - first) // self.per_cluster >= 4085, "too small for FAT16"
        # Its first two entries stand for no cluster.
        self.table = [0xFFF8, 0xFFFF]
        self.clusters: list[bytes] = []
        paths = [(tuple(path.split("/")), content) for path, content in files.items()]
        root = self._directory(paths, here=0).ljust(self.ROOT_ENTRIES * 32, b"\0")
        table = struct.pack(f"<{len(self.table)}H", *self.table).ljust(self.table_sectors * 512, b"\0")
        self.content = self._boot_sector(size) + table + root + b"".join(self.clusters)

    def _boot_sector(self, size: int) -> bytes:
        shape = struct.pack("<HBHBHHB", 512, self.per_cluster, 1, 1, self.ROOT_ENTRIES, 0, 0xF8)
        shape += struct.pack("<HHHII", self.table_sectors, 32, 2, 0, size // 512)
        label = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 1, b"ESP        ", b"FAT16   ")
        return (b"\xeb\x3c\x90MSDOS5.0" + shape + label).ljust(510, b"\0") + b"\x55\xaa"

    def _put(self, content: bytes) -> int:
        """The number of its first cluster."""
        at, count = len(self.table), -(-len(content) // self.cluster)
        self.table += [*range(at + 1, at + count), 0xFFFF]
        self.clusters.append(content.ljust(count * self.cluster, b"\0"))
        return at

    def _directory(self, paths: list[tuple[tuple[str, ...], bytes]], *, here: int) -> bytes:
        entries = []
        for name in dict.fromkeys(path[0] for path, _ in paths):
            below = [(path[1:], content) for path, content in paths if path[0] == name]
            if below[0][0]:
                at, place = self._put(bytes(self.cluster)), len(self.clusters) - 1
                links = _entry(".", 0x10, at) + _entry("..", 0x10, here)
                inner = links + self._directory(below, here=at)
                assert len(inner) <= self.cluster, f"{name} has too many files"
                self.clusters[place] = inner.ljust(self.cluster, b"\0")
                entries.append(_entry(name, 0x10, at))
            else:
                content = below[0][1]
                entries.append(_entry(name, 0x20, self._put(content), len(content)))
        return b"".join(entries)


def _entry(name: str, attributes: int, cluster: int, length: int = 0) -> bytes:
    stem, _, extension = name.upper().partition(".") if name.strip(".") else (name, "", "")
    assert len(stem) <= 8 and len(extension) <= 3, f"{name} needs a long name"
    short = stem.ljust(8) + extension.ljust(3)
    return struct.pack("<11sB14xHI", short.encode(), attributes, cluster, length)
