from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import StateError
from steps.repository import manifest
from tests import points
from tests.chain import manifest_of
from tests.hub import Hub


@pytest.fixture
def content(hub: Hub) -> bytes:
    return (Path(points.publish(hub).path) / "manifest.json").read_bytes()


def changed(content: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(content), **changes}).encode()


def test_a_manifest_comes_back_as_it_was_written(content: bytes) -> None:
    read = manifest.parse(content, "manifest.json")
    assert manifest.dump(read) == content
    assert len(content) < 4096


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"schema_version": "1"}, "damaged: schema_version", id="version as text"),
        pytest.param({"extra": 1}, "damaged: extra", id="unknown field"),
        pytest.param({"vm": None}, "damaged: vm", id="no VM"),
        pytest.param({"point": "../../etc"}, "damaged: point.*not the name of a restore point", id="point climbs"),
        pytest.param({"nvram": "../nvram"}, "damaged: nvram.*not a file name", id="nvram climbs"),
        pytest.param({"level": "perfect"}, "damaged: level", id="unknown level"),
    ],
)
def test_what_is_not_a_manifest_is_a_sentence(content: bytes, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StateError, match=f"^here .*{said}"):
        manifest.parse(changed(content, **changes), "here")


@pytest.mark.parametrize("field", ["image", "digests"])
@pytest.mark.parametrize("name", ["../disk-2000.qcow2", "/etc/passwd", ".hidden", "", "a/b", "a\n"], ids=repr)
def test_a_disk_file_outside_the_point_is_refused(content: bytes, field: str, name: str) -> None:
    disks = json.loads(content)["disks"]
    disks[0][field] = name
    with pytest.raises(StateError, match=f"damaged: disks.0.{field}"):
        manifest.parse(changed(content, disks=disks), "here")


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\0" * 100, b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema_version": 1'],
    ids=lambda b: repr(b[:8]),
)
def test_damage_is_a_sentence(damaged: bytes) -> None:
    with pytest.raises(StateError, match="here is damaged"):
        manifest.parse(damaged, "here")


@settings(max_examples=50)
@given(st.data())
def test_a_flipped_byte_changes_nothing_or_is_refused(data: st.DataObject) -> None:
    good = manifest.dump(EXAMPLE)
    position = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        assert manifest.parse(good[:position] + bytes([byte]) + good[position + 1 :], "here") == EXAMPLE
    except StateError:
        pass


def test_a_number_that_was_altered_is_refused(content: bytes) -> None:
    disks = json.loads(content)["disks"]
    disks[0]["data"] += 1
    with pytest.raises(StateError, match="here is damaged: its checksum is not that of what it says"):
        manifest.parse(changed(content, disks=disks), "here")


EXAMPLE = manifest_of(0, datetime(2026, 11, 23, 17, tzinfo=UTC), {2000: None}, sequence=1)
