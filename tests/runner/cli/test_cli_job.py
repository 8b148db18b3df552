"""Commands on job files, as they are typed."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.engine.job_state import JobState
from steps.backup.cleanup import Cleanup

JOB = """
version: 1
name: {name}
include: site.yaml
steps: [{{id: clean, uses: cleanup}}]
"""


def exit_code(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as exited:
        main([str(word) for word in words])
    assert isinstance(exited.value.code, int)
    return exited.value.code


@pytest.fixture
def jobs(tmp_path: Path) -> list[Path]:
    """Two, that include one part."""
    (tmp_path / "site.yaml").write_text("version: 1\nhosts: {hub: {ssh: hub.example.com}}\n")
    paths = [tmp_path / f"{name}.yaml" for name in ("one", "two")]
    for path in paths:
        path.write_text(JOB.format(name=path.stem))
    return paths


def test_a_mistake_in_a_part_that_several_jobs_include_is_said_once(
    jobs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (jobs[0].parent / "site.yaml").write_text("version: 1\nhosts: {hub: {shs: hub.example.com}}\n")
    assert exit_code("validate", *jobs) == 2
    assert capsys.readouterr().err.count("unknown key 'shs'") == 1


RENAMED = {
    "base": "choose-parent",
    "check-point": "verify-point",
    "deliver": "finalize-restore",
    "retention": "plan-retention",
}


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_job_file_with_an_earlier_name_of_a_step_is_told_the_new_one_with_its_place(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = "".join(f"\n  - {{id: a{number}, uses: {old}}}" for number, old in enumerate(RENAMED))
    path = tmp_path / "old.yaml"
    path.write_text(f"version: 1\nname: old\nsteps:{steps}\n")
    assert exit_code(command, path, "--state", tmp_path) == 2
    said = capsys.readouterr().err
    for line, (old, new) in enumerate(RENAMED.items(), 4):
        assert f"{path}:{line}:20: the step '{old}' was renamed to '{new}': write uses: {new}" in said


@pytest.mark.parametrize("command", ["validate", "run", "status"])
def test_of_several_files_a_part_that_jobs_include_is_left_out(
    jobs: list[Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = jobs[0].parent / "site.yaml"
    assert exit_code(command, *jobs, site, "--state", jobs[0].parent) == 0
    said = capsys.readouterr().err
    assert f"{site}: skipped, it is a part that jobs include" in said
    assert "is not a job" not in said


def test_nothing_but_parts_is_a_mistake(jobs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    site = jobs[0].parent / "site.yaml"
    assert exit_code("validate", site, site) == 2
    assert capsys.readouterr().err.count("this is a part that jobs include, not a job") == 1


@pytest.mark.parametrize("where", [(Cleanup, "run"), (JobState, "runs")], ids=["in a step", "before the run"])
def test_a_bug_in_one_job_is_told_and_the_others_run(
    where: tuple[type, str], jobs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(*where)
    turns = iter([True, False])

    def broken(*given: Any) -> Any:
        if next(turns, False):
            raise RuntimeError("a bug of ours")
        return whole(*given)

    monkeypatch.setattr(*where, broken)  # no input brings a bug that we know of
    assert exit_code("run", "--json", "-q", *jobs, "--state", jobs[0].parent) == 4
    said = capsys.readouterr()
    assert [run["exit_code"] for run in json.loads(said.out)["runs"]] == [1, 0]
    assert "Traceback" in said.err
    assert "1 of 2 jobs is done" in said.err
    assert "a bug of ours" in said.err[said.err.index("1 of 2 jobs is done") :]


def test_a_value_of_a_list_that_its_step_cannot_take_is_a_problem_of_the_offline_plan(
    jobs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    jobs[0].write_text(
        """
version: 1
name: check
include: site.yaml
repositories: {main: {host: hub, path: /backup}}
vars: {points: [{name: db, level: sampled}, {name: web, levle: full}]}
steps:
  - id: check
    uses: verify-point
    each: {one: "${{ vars.points }}"}
    with: {repository: main, point: "${{ one.name }}", level: "${{ one.level }}"}
"""
    )
    assert exit_code("validate", jobs[0]) == 0
    assert exit_code("plan", "--offline", jobs[0]) == 1
    said = capsys.readouterr().out
    wrong, misspelt = (
        "level should be 'metadata', 'sample' or 'chain'",
        "one has no field 'level'; did you mean 'levle'?",
    )
    assert f"check[db]: {jobs[0]}:8:5: step check: {wrong}" in said
    assert f"check[web]: {jobs[0]}:8:5: step check: ${{{{ one.level }}}}: {misspelt}" in said
