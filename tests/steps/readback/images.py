"""Images at rest with the digests of what was read at the source, made by qemu-img, and what can happen to them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from runner.base.units import KiB, MiB
from steps.copy.compare import Compared
from steps.copy.digests import Digests
from steps.copy.extents import one_by_one
from steps.qemu.nodes import Nodes
from steps.readback.comparison import ImageReader, ReadBack, Readback
from steps.readback.image import ImageAtRest
from tests.hub import Hub

CAPACITY = 40 * MiB + 512
BLOCKS = 41
CONTENT = (0, 1, 7, 8, 9, 20, 33, 40)
"""Blocks of the disk that are not all zero; of block 20, only some bytes in the middle."""


def command(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)


@dataclass
class Stored:
    """`raw` is what was read at the source; `images` are the image and what it is backed by."""

    raw: Path
    images: tuple[Path, ...]
    digests: Digests

    def reader(self, hub: Hub, most: int = 100, tell: Callable[[Compared], None] = lambda now: None) -> ImageReader:
        paths = tuple(map(str, self.images))
        image = ImageAtRest(2000, "image", paths[0], Nodes(paths), self.digests.capacity, "disk", len(paths))
        context = hub.context("verify")
        return ImageReader(context, context.host(hub.host.name), image, self.digests, most, tell)

    def read_back(
        self, hub: Hub, how: Readback = "host", blocks: Sequence[int] | None = None, most: int = 100
    ) -> ReadBack:
        some = None if blocks is None else one_by_one(blocks, self.digests.capacity)
        return self.reader(hub, most).read_back(some, how)

    def write(self, offset: int, length: int, byte: int) -> None:
        """Into the image, behind the digests' back."""
        verb = f"write -P {byte}" if byte else "write -z"
        command("qemu-io", "-f", "qcow2", "-c", f"{verb} {offset} {length}", self.images[0])


def stored(directory: Path, capacity: int = CAPACITY, content: Sequence[int] = CONTENT) -> Stored:
    directory.mkdir(exist_ok=True)
    raw = directory / "source.raw"
    chance = random.Random(1)
    with raw.open("wb") as file:
        file.truncate(capacity)
        for block in content:
            file.seek(block * MiB + (500 * KiB if block == 20 else 0))
            left = capacity - block * MiB
            file.write(chance.randbytes(4 * KiB if block == 20 else min(MiB, left)))
    image = directory / "disk.qcow2"
    command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    return Stored(raw, (image,), digests_of(raw, directory / "digests", content))


def with_overlay(below: Stored, directory: Path) -> Stored:
    """An incremental: a block that changed, one that became zero, one that was a hole, and the last one."""
    image, raw = directory / "disk.qcow2", directory / "source.raw"
    directory.mkdir()
    command("qemu-img", "create", "-f", "qcow2", "-b", below.images[0], "-F", "qcow2", image)
    changes = ("write -P 7 1M 64k", "write -z 8M 1M", "write -P 9 30M 1M", "write -P 5 40M 512")
    command("qemu-io", "-f", "qcow2", *(word for change in changes for word in ("-c", change)), image)
    command("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
    return Stored(raw, (image, *below.images), digests_of(raw, directory / "digests", range(BLOCKS)))


def digests_of(raw: Path, path: Path, blocks: Iterable[int]) -> Digests:
    digests = Digests.create(path, raw.stat().st_size)
    with raw.open("rb") as file:
        for number in blocks:
            file.seek(number * MiB)
            block = file.read(MiB)
            if block.strip(b"\0"):
                digests.put(number * MiB, blake3(block).digest())
    return digests
