from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.errors import NewerError, StateError
from runner.base.sealed import CHECKSUM, seal
from steps.repository import manifest
from steps.repository.manifest import LAST_SEQUENCE
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
        pytest.param({"disks": []}, "damaged: disks", id="no disks"),
        pytest.param({"sequence": 0}, "damaged: sequence", id="sequence"),
        pytest.param({"sequence": LAST_SEQUENCE + 1}, "damaged: sequence", id="sequence after which there is none"),
        pytest.param({"sequence": None}, "has no sequence", id="no sequence"),
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


DISKS: dict[str, dict[str, Any]] = {
    "of no size": {"capacity": 0, "blocks": 0, "compared": 0},
    "larger than any file": {"capacity": 2**63, "blocks": 2**43},
    "of other blocks": {"blocks": 5, "compared": 4},
    "compared twice": {"compared": 5},
    "copied in no time known": {"copy_seconds": float("nan")},
    "copied for ever": {"copy_seconds": float("inf")},
    "of negative data": {"data": -1},
    "backed by itself": {"parent": "20261123T170003Z-3f9a"},
    "verified nobody knows when": {"verified": "2026-11-23T17:00:03"},
    "less verified than its point": {"level": "metadata"},
}


@pytest.mark.parametrize("changes", DISKS.values(), ids=DISKS)
def test_a_disk_that_cannot_be_is_refused(content: bytes, changes: dict[str, Any]) -> None:
    document = json.loads(content)
    document.pop(CHECKSUM)
    (disk,) = document["disks"]
    manifest.parse(seal(document), "here")
    with pytest.raises(
        StateError, match=r"^here was written by another version of sendense, or has a value that cannot be: "
    ):
        manifest.parse(seal({**document, "disks": [{**disk, **changes}]}), "here")


@pytest.mark.parametrize(
    "created", ["2026-11-23T17:00:03", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", 5]
)
def test_a_time_that_cannot_be_compared_with_others_is_refused(content: bytes, created: object) -> None:
    document = json.loads(content)
    document.pop(CHECKSUM)
    with pytest.raises(
        StateError, match=r"^here was written by another version of sendense, or has a value that cannot be: created"
    ):
        manifest.parse(seal({**document, "created": created}), "here")


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


def test_what_a_newer_version_wrote_is_said_to_be_that_before_any_field_is_looked_at(content: bytes) -> None:
    with pytest.raises(NewerError, match=r"^here was written by a newer version of sendense \(schema 3\)") as refused:
        manifest.parse(changed(content, schema_version=3, disks="none of yours"), "here")
    assert refused.value.schema == 3


AT = datetime(2026, 11, 23, 17, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


def of_clocks(created: timedelta, published: timedelta, stored: timedelta | None) -> manifest.Manifest:
    """Of a run that began at `AT` by the clock of its machine."""
    made = manifest_of(0, AT, {2000: None}, sequence=1)
    clocks = {"created": AT + created, "published": AT + published}
    return made.model_copy(update={**clocks, "stored": None if stored is None else AT + stored})


@pytest.mark.parametrize(
    ("clocks", "moment", "said"),
    [
        pytest.param((HOUR, 5 * HOUR, 5 * HOUR), HOUR, 0, id="all agree"),
        pytest.param((YEAR, 5 * HOUR, 5 * HOUR), 5 * HOUR, 1, id="vCenter ahead"),
        pytest.param((-YEAR, 5 * HOUR, 5 * HOUR), 5 * HOUR, 1, id="vCenter behind"),
        pytest.param((HOUR, 5 * HOUR, 5 * HOUR + YEAR), HOUR, 1, id="host ahead"),
        pytest.param((YEAR + HOUR, 5 * HOUR, 5 * HOUR + YEAR), YEAR + HOUR, 2, id="the run's machine behind"),
        pytest.param((YEAR, 5 * HOUR, 5 * HOUR - YEAR), 5 * HOUR - YEAR, 2, id="none agree"),
        pytest.param((HOUR, 5 * HOUR, None), HOUR, 0, id="of before the host's was noted"),
        pytest.param((YEAR, 5 * HOUR, None), 5 * HOUR, 1, id="of before, and the vCenter ahead"),
        pytest.param((timedelta(minutes=-9), HOUR, HOUR), timedelta(minutes=-9), 0, id="a little off"),
    ],
)
def test_the_time_of_a_point_is_the_vcenters_where_another_clock_bears_it_out(
    clocks: tuple[timedelta, timedelta, timedelta | None], moment: timedelta, said: int
) -> None:
    made = of_clocks(*clocks)
    assert made.moment - AT == moment
    assert len(made.clocks) == said, made.clocks


def test_a_number_that_was_altered_is_refused(content: bytes) -> None:
    disks = json.loads(content)["disks"]
    disks[0]["data"] += 1
    with pytest.raises(StateError, match="here is damaged: its checksum does not match its content"):
        manifest.parse(changed(content, disks=disks), "here")


EXAMPLE = manifest_of(0, datetime(2026, 11, 23, 17, tzinfo=UTC), {2000: None}, sequence=1)
