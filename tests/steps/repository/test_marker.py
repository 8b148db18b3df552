from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.errors import NewerError, StateError
from runner.hosts.local import LocalHost
from steps.repository import marker

HOST = LocalHost("hub")


def test_init_makes_a_repository_once(tmp_path: Path) -> None:
    path = tmp_path / "repository"
    made = marker.init(HOST, str(path))
    assert marker.init(HOST, str(path)) == made == marker.require(HOST, str(path))
    assert [entry.name for entry in path.iterdir()] == ["repository.json"]
    assert path.stat().st_mode & 0o777 == 0o700


def test_init_takes_a_fresh_file_system(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    marker.init(HOST, str(tmp_path))
    marker.require(HOST, str(tmp_path))


def test_init_refuses_a_directory_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(marker.NotEmptyError, match=r"holiday\.jpg"):
        marker.init(HOST, str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("exists", [True, False], ids=["empty directory", "does not exist"])
def test_a_path_without_marker_is_refused_with_the_way_out(tmp_path: Path, exists: bool) -> None:
    path = tmp_path if exists else tmp_path / "nothing"
    with pytest.raises(marker.NotARepositoryError, match=r"mount its disk; .*`sendense init JOB`"):
        marker.require(HOST, str(path))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"uuid": "x", "version": 0}', b'{"version": 1}', b"\xff"], ids=repr
)
def test_a_damaged_marker_is_a_sentence_and_is_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "repository.json").write_bytes(content)
    for verb in (marker.init, marker.require):
        with pytest.raises(StateError, match=r"repository\.json on hub is damaged"):
            verb(HOST, str(tmp_path))
    assert (tmp_path / "repository.json").read_bytes() == content


def test_a_marker_of_a_newer_version_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "repository.json").write_bytes(b'{"uuid": "x", "version": 2, "colour": "blue"}')
    with pytest.raises(
        NewerError, match=r"^.*/repository\.json on hub was written by a newer version of sendense \(schema 2\)"
    ):
        marker.require(HOST, str(tmp_path))
