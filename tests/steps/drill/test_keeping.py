"""What a drill leaves with its point agrees with itself at every moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from runner.base.errors import LockedError, SendenseError, StateError
from runner.hosts.local import LocalHost
from steps.drill import keeping
from steps.drill.keeping import keep
from steps.repository import layout, verification_records
from steps.repository.verification_records import Drill, PointGoneError
from tests.marks import marks

HERE = LocalHost("hub")
AT = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class Dies(SendenseError):
    pass


@pytest.fixture
def point(tmp_path: Path) -> Path:
    point = tmp_path / "20261130T010000Z-3f9a"
    point.mkdir()
    (point / layout.MANIFEST).write_bytes(b"{}")
    return point


def drill(verdict: Any = "passed", at: datetime = AT) -> Drill:
    return Drill(at=at, verdict=verdict, why="so", host="hub", accelerator="tcg", run="r")


def known(point: Path) -> Drill:
    found = verification_records.drill(HERE, str(point))
    assert found is not None
    return found


def test_the_files_are_there_that_the_record_names_and_for_the_account_alone(point: Path) -> None:
    assert keep(HERE, str(point), drill(), b"PNG", b"login:") == known(point)
    files = {name: marks(point) / name for name in ("drilled.json", "drilled.png", "drilled-serial.log")}
    assert (files["drilled.png"].read_bytes(), files["drilled-serial.log"].read_bytes()) == (b"PNG", b"login:")
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert (known(point).picture, known(point).serial_log) == ("drilled.png", "drilled-serial.log")


def test_a_drill_without_them_leaves_none_of_an_earlier_one(point: Path) -> None:
    keep(HERE, str(point), drill(), b"PNG", b"login:")
    keep(HERE, str(point), drill("undecided"), None, b"")
    assert [path.name for path in point.iterdir()] == [layout.MANIFEST]
    assert [path.name for path in marks(point).iterdir()] == ["drilled.json"]
    assert (known(point).picture, known(point).serial_log) == (None, None)


def test_when_it_passed_last_outlives_drills_that_did_not(point: Path) -> None:
    keep(HERE, str(point), drill("failed"), None, b"")
    assert known(point).passed_at is None
    keep(HERE, str(point), drill("passed", AT + DAY), None, b"")
    keep(HERE, str(point), drill("failed", AT + 2 * DAY), None, b"")
    assert (known(point).verdict, known(point).passed_at) == ("failed", AT + DAY)


@pytest.mark.parametrize("before", range(6))
def test_whenever_it_is_cut_short_no_record_names_a_file_of_another_drill(
    point: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(HERE, str(point), drill(), b"old picture", b"old log")
    steps = iter(range(9))

    def dies(name: str) -> None:
        real = getattr(LocalHost, name)

        def act(*args: Any, **options: Any) -> Any:
            if next(steps) == before:
                raise Dies("killed")
            return real(*args, **options)

        monkeypatch.setattr(LocalHost, name, act)

    dies("write")
    dies("remove")
    try:
        keep(HERE, str(point), drill("failed"), b"new picture", b"new log")
    except Dies:
        pass
    monkeypatch.undo()
    found = known(point)
    for name in (found.picture, found.serial_log):
        if name is not None:
            assert (marks(point) / name).read_bytes().startswith(b"old" if found.verdict == "passed" else b"new")
    assert found.passed_at == AT


def test_of_two_drills_of_a_point_at_once_one_waits_for_the_other_to_have_recorded(
    point: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, second = LocalHost.write, Thread(target=keep, args=(HERE, str(point), drill("failed"), b"second", b""))

    def write(host: LocalHost, path: str, content: bytes, **options: Any) -> None:
        if content == b"first":
            second.start()
            second.join(0.3)
            assert second.is_alive()
        real(host, path, content, **options)

    monkeypatch.setattr(LocalHost, "write", write)
    assert keep(HERE, str(point), drill(), b"first", b"").picture == "drilled.png"
    second.join(20)
    assert (known(point).verdict, known(point).passed_at) == ("failed", AT)
    assert (marks(point) / "drilled.png").read_bytes() == b"second"


def test_a_drill_that_cannot_record_says_which_run_it_waited_for(point: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAIT", 0.1)
    lock = HERE.lock(str(point.parent / layout.DRILL_LOCK), "run other")
    with pytest.raises(LockedError, match="run other"):
        keep(HERE, str(point), drill(), None, b"")
    lock.release()
    assert not (marks(point) / "drilled.json").exists()


def test_a_point_that_was_deleted_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(PointGoneError, match="was deleted meanwhile: what was found of it is not recorded"):
        keep(HERE, str(tmp_path / "gone"), drill(), b"PNG", b"")
    assert not (tmp_path / "gone").exists()


def test_a_damaged_record_is_not_written_over(point: Path) -> None:
    marks(point).mkdir()
    (marks(point) / "drilled.json").write_bytes(b"{")
    with pytest.raises(StateError, match=r"drilled\.json on hub is damaged"):
        keep(HERE, str(point), drill(), b"PNG", b"")
    assert (marks(point) / "drilled.json").read_bytes() == b"{"
