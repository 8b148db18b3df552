from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.base.errors import StateError
from runner.hosts.local import LocalHost
from steps.repository import verification_records
from steps.repository.verification_records import PointGoneError
from tests.drill_records import drill
from tests.marks import marks

HOST = LocalHost("hub")
AT = datetime(2026, 11, 23, tzinfo=UTC)
MARKS = {
    verification_records.SUSPECT: verification_records.Suspect(
        disks=(verification_records.Suspicion(key=2000, why="it lied", run="r", at=AT),)
    ),
    verification_records.VERIFIED: verification_records.Verification(
        disks=(verification_records.DiskVerified(key=2000, at=AT, level="chain", blocks=9, compared=9),)
    ),
    verification_records.AGAINST_SOURCE: verification_records.Comparison(
        disks=(verification_records.DiskCompared(key=2000, at=AT, blocks=9, compared=7, changed=2),)
    ),
    verification_records.PROTECTED: verification_records.Protection(until=AT, reason="audit 2025", at=AT),
}
HARMS = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped": lambda content: content.replace(b"2026", b"2027", 1),
    "future": lambda content: content.replace(b'"schema_version": 1', b'"schema_version": 2'),
}


class Deleting(LocalHost):
    """On which the point is deleted before the act that is called so."""

    def __init__(self, point: Path, before: str) -> None:
        super().__init__("hub")
        self._point = point
        self._before = before

    def mkdir(self, *paths: str, mode: int = 0o700, parents: bool = False) -> None:
        self._delete("mkdir")
        super().mkdir(*paths, mode=mode, parents=parents)

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        self._delete("write")
        super().write(path, content, mode=mode)

    def _delete(self, act: str) -> None:
        if act == self._before:
            self._point.rmdir()
            if (beside := marks(self._point)).exists():
                beside.rmdir()


@pytest.mark.parametrize("before", ["all of it", "mkdir", "write"])
def test_of_a_point_that_is_deleted_meanwhile_nothing_is_left(tmp_path: Path, before: str) -> None:
    point = tmp_path / "20261123T170000Z-3f9a"
    if before != "all of it":
        point.mkdir()
    with pytest.raises(PointGoneError, match=f"{point} on hub was deleted meanwhile"):
        verification_records.write(Deleting(point, before), str(point), MARKS[verification_records.PROTECTED])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
@pytest.mark.parametrize("name", MARKS)
def test_a_mark_that_went_bad_is_refused_with_its_path(tmp_path: Path, name: str, harm) -> None:
    verification_records.write(HOST, str(tmp_path), MARKS[name])
    assert MARKS[name] in (read := verification_records.read(HOST, str(tmp_path))).__dict__.values(), read
    path = marks(tmp_path) / name
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StateError, match=rf"^{path} on hub (is damaged|was written by a newer version)"):
        verification_records.read(HOST, str(tmp_path))


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_record_of_a_drill_that_went_bad_is_told_and_hides_no_other_mark(tmp_path: Path, harm) -> None:
    for mark in (drilled := drill(now=AT)), *MARKS.values():
        verification_records.write(HOST, str(tmp_path), mark)
    assert verification_records.read(HOST, str(tmp_path)).drilled == drilled
    path = marks(tmp_path) / verification_records.DRILLED
    path.write_bytes(harm(path.read_bytes()))
    read = verification_records.read(HOST, str(tmp_path))
    assert read.drilled is None
    assert re.match(rf"{path} on hub (is damaged|was written by a newer version)", read.drilled_unread)
    assert set(MARKS.values()) <= set(read.__dict__.values())
    assert any(read.drilled_unread in sentence for sentence in verification_records.against(read))


def test_that_a_point_failed_a_drill_is_told_to_who_restores_it() -> None:
    (told,) = verification_records.against(verification_records.Marks(drilled=drill("failed", now=AT)))
    assert told == "It failed a drill at 2026-11-23 00:00 UTC: SeaBIOS says 'No bootable device'."
    for verdict in ("passed", "undecided"):
        assert [*verification_records.against(verification_records.Marks(drilled=drill(verdict, now=AT)))] == []


def verified(level: verification_records.Level, *, passed: bool, hours: int = 0) -> verification_records.DiskVerified:
    at, different = AT + timedelta(hours=hours), () if passed else (0,)
    return verification_records.DiskVerified(key=2000, at=at, level=level, blocks=9, compared=9, different=different)


@pytest.mark.parametrize(
    ("before", "now", "stands"),
    [
        pytest.param(("chain", False), ("sample", True), "before", id="a failure, against a weaker one that passed"),
        pytest.param(("metadata", False), ("sample", True), "before", id="a failure, against any but all of it"),
        pytest.param(("sample", False), ("chain", True), "now", id="all of it is right after a failure"),
        pytest.param(("chain", True), ("metadata", False), "now", id="a failure, of whatever"),
        pytest.param(("chain", False), ("metadata", False), "now", id="the later of two failures"),
        pytest.param(("chain", True), ("sample", True), "before", id="all of it, against a weaker one"),
        pytest.param(("metadata", True), ("sample", True), "now", id="a stronger one"),
        pytest.param(("chain", True), ("chain", True), "now", id="the later of two equals"),
    ],
)
def test_of_two_verifications_at_rest_stands(
    before: tuple[verification_records.Level, bool], now: tuple[verification_records.Level, bool], stands: str
) -> None:
    first, second = verified(before[0], passed=before[1]), verified(now[0], passed=now[1], hours=1)
    assert second.upon(first) == (first if stands == "before" else second)
    assert second.upon(None) == second


def test_that_a_disk_could_not_be_compared_takes_the_place_of_nothing_known() -> None:
    known = verification_records.DiskCompared(key=2000, at=AT, blocks=9, compared=7, changed=2, different=(0,))
    not_now = verification_records.DiskCompared(
        key=2000, at=AT, blocks=9, compared=0, changed=0, why_not="it has grown"
    )
    assert (not_now.upon(known), not_now.upon(None), known.upon(not_now)) == (known, not_now, known)
