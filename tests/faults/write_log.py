"""An image whose writes are logged in order, and what of it survives a power cut.

qemu's driver blklogwrites sits below qcow2 and logs in the format of Linux's dm-log-writes (log-writes.rst): a sector with
the super block, then entries of one sector, each followed by the data it wrote. A write is logged when it completed, a
FLUSH when the file was synced.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.qemu.nodes import Nodes

SECTOR = 512
MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
"""magic, version, nr_entries, sectorsize"""
_ENTRY = struct.Struct("<QQQQ")
"""sector, nr_sectors, flags, data_len"""
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass(frozen=True)
class LoggedImage(Nodes):
    """A qcow2 image whose file's writes go into `log` too."""

    log: str = ""

    @property
    def name(self) -> str:
        (path,) = self.images
        file, log = ({"driver": "file", "filename": name} for name in (path, self.log))
        return f"json:{json.dumps({'driver': 'qcow2', 'file': {'driver': 'blklogwrites', 'file': file, 'log': log}})}"


@dataclass(frozen=True)
class Entry:
    """Bytes. `at`: where its data is in the log, `end`: where the entry ends there."""

    offset: int
    length: int
    flags: int
    at: int
    end: int

    @property
    def writes(self) -> bool:
        return self.length > 0 and not self.flags & (DISCARD | MARK)


def read_log(path: Path) -> list[Entry]:
    """Of an exporter that has ended. The super block comes with the first FLUSH and is not needed: entries fill the file."""
    entries: list[Entry] = []
    with path.open("rb") as file:
        magic, version, _, sector = _SUPER.unpack(file.read(_SUPER.size))
        assert (magic, version, sector) in ((MAGIC, 1, SECTOR), (0, 0, 0))
        at, size = SECTOR, path.stat().st_size
        while at < size:
            file.seek(at)
            first, sectors, flags, _ = _ENTRY.unpack(file.read(_ENTRY.size))
            at += SECTOR
            entry = Entry(first * SECTOR, sectors * SECTOR, flags, at, at if flags & DISCARD else at + sectors * SECTOR)
            entries.append(entry)
            at = entry.end
    return entries


def cut_power(base: Path, log: Path, entries: Sequence[Entry], seed: int, into: Path) -> None:
    """Makes `into` what a host may find of `base` after the power was cut behind `entries`: all up to the last FLUSH, and
    a random half of the writes behind it. (Discards may be left out.)"""
    chance = random.Random(seed)
    flushed = max((number for number, entry in enumerate(entries) if entry.flags & FLUSH), default=-1)
    shutil.copyfile(base, into)
    with into.open("r+b") as image, log.open("rb") as file:
        for number, entry in enumerate(entries):
            if entry.writes and (number < flushed or chance.random() < 0.5):
                file.seek(entry.at)
                image.seek(entry.offset)
                image.write(file.read(entry.length))
