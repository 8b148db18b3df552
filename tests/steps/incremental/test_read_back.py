"""Which blocks are read back: what tells them is believed only while it is as it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.copy.extents import BLOCK
from steps.incremental.read_back import Scope
from steps.incremental.written_map import map_file, read_map
from steps.repository import layout
from steps.values.image import Image
from tests.hub import Hub, disk

RANGES = [(0, 2 * BLOCK), (5 * BLOCK, BLOCK), (9 * BLOCK, 512)]
WRITTEN = 4


def write_map(image: Image) -> None:
    name, content = map_file(image, RANGES)
    Path(image.directory, name).write_bytes(content)


def test_the_map_of_what_an_image_holds_is_read_as_it_was_written(any_hub: Hub) -> None:
    image = any_hub.image(disk(capacity=9 * MiB + 512))
    name, content = map_file(image, RANGES)
    any_hub.context().host(image.host).write(f"{image.directory}/{name}", content)
    assert read_map(any_hub.context(), image, WRITTEN) == RANGES


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda content: content.replace(b"2097152", b"1048576"), id="smaller"),
        pytest.param(lambda content: content.replace(b"5242880", b"6291456"), id="elsewhere"),
        pytest.param(lambda content: content[:-9], id="truncated"),
        pytest.param(lambda content: b"[[0, 1048576]]", id="not-sealed"),
    ],
)
def test_a_map_that_is_not_as_it_was_written_is_none(hub: Hub, harm: Callable[[bytes], bytes]) -> None:
    image = hub.image(disk())
    write_map(image)
    path = Path(image.directory, layout.written(image.disk.key))
    harmed = harm(before := path.read_bytes())
    assert harmed != before
    path.write_bytes(harmed)
    assert read_map(hub.context(), image, WRITTEN) is None


def test_what_is_inherited_is_told_from_what_the_image_holds() -> None:
    blocks = [(0, 2 * BLOCK), (3 * BLOCK, BLOCK), (5 * BLOCK, BLOCK), (9 * BLOCK, 512)]
    assert Scope(RANGES, blocks).inherited(5) == 1
    assert Scope(RANGES, None).inherited(10) == 6
    assert Scope(None, None).inherited(10) == 0


def test_a_map_of_another_copy_is_none(hub: Hub) -> None:
    image = hub.image(disk())
    write_map(image)
    assert read_map(hub.context(), image, WRITTEN + 1) is None
