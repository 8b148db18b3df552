from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cli import main
from runner.hosts.local import LocalHost
from tests import points
from tests.hub import Hub, hub_on, tree, vm

JOB = """\
version: 1
name: nightly
hosts: {{hub: local}}
repositories: {{main: {{host: hub, path: "{root}"}}}}
steps: [{{id: cleanup, uses: cleanup}}]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


def job_for(root: Path) -> str:
    path = root.with_name("job.yaml")
    path.write_text(JOB.format(root=root))
    return str(path)


def sendense(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_init_makes_the_jobs_repositories_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "backup" / "repository"
    root.parent.mkdir()
    for _ in range(2):
        assert sendense("init", job_for(root)) == 0
    uuid = json.loads((root / "repository.json").read_bytes())["uuid"]
    assert capsys.readouterr().out == f"main: {root} on hub is repository {uuid}\n" * 2


def test_init_among_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "full"
    root.mkdir()
    (root / "holiday.jpg").touch()
    assert sendense("init", job_for(root)) == 1
    assert "holds other files (holiday.jpg" in capsys.readouterr().err


def test_points_shows_each_point_and_names_what_is_none(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    made = points.publish(hub, machine=vm("größe, mit\tTab"))
    (Path(hub.root) / "holiday").mkdir()
    before = tree(Path(hub.root))
    assert sendense("points", job_for(Path(hub.root))) == 0
    shown = capsys.readouterr()
    assert made.point in shown.out
    assert "every block (last good)" in shown.out
    assert "holiday" in shown.err
    assert tree(Path(hub.root)) == before


def test_points_as_json_is_one_document(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    made = points.publish(hub)
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 2
    (repository,) = document["repositories"]
    assert (repository["name"], repository["host"], repository["repository"]) == ("main", "hub", hub.root)
    assert [(point["path"], point["last_good"]) for point in repository["points"]] == [(made.path, True)]


def test_an_empty_repository_is_said_to_be_empty(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert sendense("points", job_for(Path(hub.root))) == 0
    assert "has no restore points yet" in capsys.readouterr().out


def test_points_of_what_is_no_repository_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sendense("points", job_for(tmp_path / "nothing")) == 1
    assert "is not a repository: is the disk mounted?" in capsys.readouterr().err


def test_a_job_without_repositories_is_told_what_to_add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("version: 1\nname: nightly\nsteps: [{id: cleanup, uses: cleanup}]\n")
    assert sendense("points", str(job)) == 2
    assert "add `repositories:" in capsys.readouterr().err
