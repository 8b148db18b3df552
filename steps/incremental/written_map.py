"""disk-<key>.written.json, beside an image until it is published: the blocks an incremental holds itself."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from runner.base.errors import StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.base.units import KiB
from runner.step.context import Context
from steps.copy.digests import ENTRY, Digests
from steps.copy.extents import BLOCK
from steps.repository import layout
from steps.values.image import Image

MAP_SCHEMA_VERSION = 1

_STRIDE = 1024 * BLOCK
"""Bytes of disk whose entries are held at a time."""


def content_of(digests: Digests, ranges: Iterable[tuple[int, int]]) -> int:
    """Bytes of the blocks in `ranges` that are not all zero."""
    found = 0
    for offset, length in ranges:
        for start in range(offset, offset + length, _STRIDE):
            blocks = -(-min(_STRIDE, offset + length - start) // BLOCK)
            entries = digests.get(start, blocks)
            found += sum(
                min(BLOCK, digests.capacity - start - number * BLOCK)
                for number in range(blocks)
                if entries[number * ENTRY : (number + 1) * ENTRY].strip(b"\0")
            )
    return found


_MAP_HEAD, _MAP_LINE = 4 * KiB, 64
"""Bytes of such a file, the latter for each run of blocks, at most."""


class _Map(Model):
    """`ranges`: (offset, length) of runs of blocks."""

    schema_version: int = MAP_SCHEMA_VERSION
    ranges: tuple[tuple[int, int], ...]


def map_file(image: Image, ranges: list[tuple[int, int]]) -> tuple[str, bytes]:
    """Name and content of a file beside the image, for its verification: which blocks it holds itself."""
    return layout.written(image.key), seal(_Map(ranges=tuple(ranges)).to_json_value())


def read_map(ctx: Context, image: Image, blocks: int) -> list[tuple[int, int]] | None:
    """None where there is none that can be believed, one of other than `blocks` blocks among them: then every
    block is to be looked at."""
    path = posixpath.join(image.directory, layout.written(image.key))
    try:
        content = ctx.host(image.host).read(path, limit=_MAP_HEAD + blocks * _MAP_LINE)
        found = unseal(content, _Map, MAP_SCHEMA_VERSION).ranges
    except (FileNotFoundError, StateError, Damaged):
        return None
    return list(found) if blocks_of(found) == blocks else None


def blocks_of(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(-(-length // BLOCK) for _, length in ranges)
