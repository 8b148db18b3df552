from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.app.options import Options
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.commands import command_jobs
from steps.commands.asked import Asked
from steps.repository import layout, verification_records
from steps.repository.verification_records import Drill
from tests import points
from tests.drill_records import NO_DEVICE, drill
from tests.hub import Hub, hub_on, tree, vm
from tests.records import rewrite

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
    made, found = capsys.readouterr().out.splitlines()
    assert made.startswith(f"main: created an empty repository {uuid} in {root} on hub: file system /")
    assert re.search(r"file system /\S*, \d+(\.\d)? [KMGT]?i?B free$", made)
    assert found == f"main: {root} on hub is repository {uuid} already"


def test_init_makes_no_directory_that_a_disk_should_be_mounted_under(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mnt" / "disk" / "repository"
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(root=root))
    assert sendense("init", str(job)) == 1
    assert f"{root.parent} does not exist: mount the repository's disk" in capsys.readouterr().err
    assert not (tmp_path / "mnt").exists()


def test_init_among_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "full"
    root.mkdir()
    (root / "holiday.jpg").touch()
    assert sendense("init", job_for(root)) == 1
    assert "has other files (holiday.jpg" in capsys.readouterr().err


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


def test_what_was_found_at_rest_and_against_the_vm_is_told_apart(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    made = points.publish(hub)
    job, at = job_for(Path(hub.root)), datetime.now(UTC)
    rotten = verification_records.DiskVerified(key=2000, at=at, level="chain", blocks=4, compared=4, different=(0,))
    equal = verification_records.DiskCompared(key=2000, at=at, blocks=4, compared=3, changed=1)
    for mark in (verification_records.Verification(disks=(rotten,)), verification_records.Comparison(disks=(equal,))):
        verification_records.write(hub.host, made.path, mark)
    assert sendense("points", job) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "chain FAILED 0 h ago" in shown
    assert "source ok 0 h ago" in shown
    assert "NOT TRUSTED: disk 2000 failed" in shown
    assert sendense("points", "--json", job) == 0
    (point,) = json.loads(capsys.readouterr().out)["repositories"][0]["points"]
    assert [point[name]["disks"][0]["different"] for name in ("at_rest", "against_source")] == [[0], []]
    assert point["doubts"] == ["disk 2000 failed verification at rest: blocks differ, the first at offset 0"]
    assert sendense("protect", job, made.path, "--until", "2999-12-31", "--reason", "audit") == 0
    assert "It failed verification at rest at" in capsys.readouterr().err


def shown_of(hub: Hub, capsys: pytest.CaptureFixture[str], mark: Drill) -> tuple[str, dict[str, Any]]:
    """What `points` shows of its only point, as text and as JSON, once that was drilled."""
    made = points.publish(hub)
    verification_records.write(hub.host, made.path, mark)
    assert sendense("points", job_for(Path(hub.root))) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    ((point,),) = (one["points"] for one in json.loads(capsys.readouterr().out)["repositories"])
    return text, point


def test_a_long_story_of_a_drill_is_cut_and_where_it_is_whole_is_said(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    why = f"after 11 s the UEFI firmware found nothing that boots: '{'BdsDxe: failed to load Boot0001 ' * 5}'"
    made = points.publish(hub)
    verification_records.write(hub.host, made.path, drill("failed").model_copy(update={"why": why}))
    assert sendense("points", job_for(Path(hub.root))) == 0
    found = capsys.readouterr()
    assert "the UEFI firmware found nothing that boots: …" in found.out
    assert "Boot0001" not in found.out
    assert "in full: --json, or drilled.json" in found.err
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    ((point,),) = (one["points"] for one in json.loads(capsys.readouterr().out)["repositories"])
    assert point["drilled"]["why"] == why


@pytest.mark.parametrize(
    ("mark", "said", "remark"),
    [
        (drill("passed", hours=72), "drill ok 3 d ago", ""),
        (drill("failed", hours=2), "drill FAILED 2 h ago", f"drill failed: {NO_DEVICE}"),
        (
            drill("failed", hours=2, passed=240),
            "drill FAILED 2 h ago, passed 10 d ago",
            f"drill failed: {NO_DEVICE}",
        ),
        (drill("undecided", hours=5), "drill undecided 5 h ago", "drill undecided: nothing of what was expected"),
    ],
    ids=["passed", "failed", "failed after a pass", "undecided"],
)
def test_points_tell_when_each_was_last_drilled_and_what_came_of_it(
    hub: Hub, capsys: pytest.CaptureFixture[str], mark: Drill, said: str, remark: str
) -> None:
    text, point = shown_of(hub, capsys, mark)
    assert said in text
    assert remark in text
    assert "(last good)" in text, "a drill takes nothing from what was compared"
    assert point["drilled"]["verdict"] == mark.verdict
    assert (point["drilled"]["passed_at"] is None) == (mark.passed_at is None)


def test_a_point_that_was_never_drilled_says_nothing_of_drills(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    points.publish(hub)
    assert sendense("points", job_for(Path(hub.root))) == 0
    assert "drill" not in capsys.readouterr().out
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    (point,) = json.loads(capsys.readouterr().out)["repositories"][0]["points"]
    assert (point["drilled"], point["drilled_unread"]) == (None, "")


def test_what_a_guest_said_in_a_drill_rules_no_terminal(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = shown_of(hub, capsys, drill("failed").model_copy(update={"why": "it said '\x1b[2J\u202e'"}))
    assert text.isprintable()
    assert "it said '" in text


def test_a_record_of_a_drill_that_is_damaged_is_told(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    made = points.publish(hub)
    Path(made.path, verification_records.DRILLED).write_bytes(b"{")
    assert sendense("points", job_for(Path(hub.root))) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert made.point in text
    assert "every block (last good), drill unknown" in text
    assert "drill unknown: drilled.json is damaged: it is not JSON" in text


def test_points_as_json_is_one_document(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    made = points.publish(hub)
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 4
    (repository,) = document["repositories"]
    assert (repository["name"], repository["host"], repository["repository"]) == ("main", "hub", hub.root)
    assert [(point["path"], point["last_good"]) for point in repository["points"]] == [(made.path, True)]


@pytest.mark.parametrize("by", ["host", "wire"])
def test_points_tell_by_whom_each_disk_was_read_back(hub: Hub, capsys: pytest.CaptureFixture[str], by: str) -> None:
    made = points.publish(hub)
    rewrite(Path(made.path, layout.MANIFEST), lambda document: document["disks"][0].update(readback=by))
    assert sendense("points", "--json", job_for(Path(hub.root))) == 0
    (point,) = json.loads(capsys.readouterr().out)["repositories"][0]["points"]
    assert [disk["readback"] for disk in point["disks"]] == [by]


@pytest.mark.parametrize("name", ["pgtest1", "pgtest1/latest", "latest"])
def test_a_vm_in_place_of_a_point_is_its_newest_good_one(
    hub: Hub, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    made = points.publish(hub, machine=vm("pgtest1"))
    words = (name, "--until", "2999-12-31", "--reason", "audit")
    assert sendense("protect", job_for(Path(hub.root)), *words) == 0
    assert capsys.readouterr().out == f"{made.path} is protected until the end of 2999-12-31: audit\n"


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("init", (), {"repositories"}),
        ("validate", (), {"jobs", "problems"}),
        ("render", (), {"job"}),
        ("protect", ("latest", "--until=2999-12-31", "--reason=audit"), {"path", "until", "reason", "against"}),
        ("protect", ("latest", "--lift"), {"path", "until", "reason", "against"}),
        ("sweep", (), {"dry_run", "jobs"}),
    ],
)
def test_with_json_standard_output_is_one_document(
    hub: Hub,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    arguments: tuple[str, ...],
    told: set[str],
) -> None:
    points.publish(hub)
    assert sendense(command, job_for(Path(hub.root)), *arguments, f"--state={tmp_path / 'state'}", "--json") == 0
    assert json.loads(capsys.readouterr().out).keys() == {"schema_version", *told}


def test_an_empty_repository_is_said_to_be_empty(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert sendense("points", job_for(Path(hub.root))) == 0
    assert "has no restore points yet" in capsys.readouterr().out


def test_points_of_what_is_no_repository_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sendense("points", job_for(tmp_path / "nothing")) == 1
    assert "is not a repository: mount its disk;" in capsys.readouterr().err


def test_a_job_without_repositories_is_told_what_to_add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("version: 1\nname: nightly\nsteps: [{id: cleanup, uses: cleanup}]\n")
    assert sendense("points", str(job)) == 2
    assert "add `repositories:" in capsys.readouterr().err


def test_of_the_jobs_that_commands_made_the_newest_are_kept(hub: Hub, tmp_path: Path) -> None:
    values = {"repository": "main", "point": "pgtest1/20261123", "level": "metadata"}
    asked = Asked(Path(job_for(Path(hub.root))), Options(state=tmp_path / "state"), None, False)
    file = command_jobs.job_for(asked, "verify", "pgtest1", values)
    others = [file.with_name(f"restore-{number:03}.yaml") for number in range(command_jobs.KEPT_COMMANDS)]
    for age, other in enumerate(others):
        other.touch()
        os.utime(other, (0, 1000 - age))
    assert command_jobs.job_for(asked, "verify", "pgtest1", values) == file
    assert set(file.parent.iterdir()) == {file, *others[:-1]}
