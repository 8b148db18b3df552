"""Several jobs at once, each in a process of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.events.events import RunFinished
from runner.events.journal import read_events
from tests.runner.cli.test_cli_job import JOB, exit_code

pytestmark = pytest.mark.slow

BAD = "{version: 1, name: bad, steps: [{id: a, uses: nothing}]}"


@pytest.fixture
def jobs(tmp_path: Path) -> list[Path]:
    (tmp_path / "site.yaml").write_text("version: 1\n")
    paths = [tmp_path / f"{name}.yaml" for name in ("one", "two", "three")]
    for path in paths:
        path.write_text(JOB.format(name=f"the-{path.stem}"))
    return paths


def run(state: Path, *words: str | Path) -> int:
    return exit_code("run", "--parallel", "2", "--state", state / "state", *words)


def test_each_line_tells_its_job_and_the_table_comes_last(
    jobs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *jobs) == 0
    above, table = capfd.readouterr().err.split("\n3 of 3 jobs are done")
    lines = [line.split("  ")[1] for line in above.splitlines() if "the-" in line]
    assert {name.removeprefix("✓ ") for name in lines} == {"the-one", "the-two", "the-three"}
    assert sum("✓" in line for line in lines) == 3
    assert [line.split()[:2] for line in table.splitlines()[2:]] == [
        ["the-one", "done"],
        ["the-two", "done"],
        ["the-three", "done"],
    ]


def test_what_a_program_gets_is_as_of_jobs_one_after_the_other(
    jobs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    jobs.insert(1, tmp_path / "bad.yaml")
    documents: list[list[dict[str, Any]]] = []
    for number in ("1", "3"):
        words: tuple[str | Path, ...] = ("--json", "--report", tmp_path / f"reports{number}", *jobs)
        assert run(tmp_path, "--parallel", number, *words) == 4
        documents.append(json.loads(capfd.readouterr().out)["runs"])
        names = {f"{run['job']}-{run['run']}" for run in documents[-1] if "run" in run}
        assert {path.name for path in (tmp_path / f"reports{number}").iterdir()} == names
    for run_ in (one for runs in documents for one in runs if "run" in one):
        assert run_.pop("run") and run_.pop("seconds") >= 0
        assert run_.pop("summary")  # it tells the seconds
    assert documents[0] == documents[1]
    assert [run_["exit_code"] for run_ in documents[1]] == [0, 2, 0, 0]


def test_one_file_has_the_events_of_all_each_with_whose_it_is(jobs: list[Path], tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert run(tmp_path, "--events", events, *jobs) == 0
    ends = {event.child for event in read_events(events) if isinstance(event, RunFinished)}
    assert ends == {str(job) for job in jobs}


def test_a_file_that_is_named_twice_is_refused_and_the_others_run(
    jobs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, jobs[0], jobs[1], jobs[0]) == 4
    said = capfd.readouterr().err
    assert f"{jobs[0]} is named twice" in said and "2 of 3 jobs are done" in said


def test_the_earlier_name_of_nodes_is_told(jobs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("run", "--jobs", "2", *jobs) == 2
    assert capsys.readouterr().err == "sendense: --jobs was renamed to --nodes\n"
