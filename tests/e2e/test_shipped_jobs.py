from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.app.options import Options, read_job
from runner.app.selecting import select
from runner.base.render import shipped
from runner.cli import main
from steps.lab.lab import Lab
from steps.lab.simulator import ESTATE

SITE = "site.yaml"
JOBS = sorted(path for path in shipped("jobs").glob("*.yaml") if path.name != SITE)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_shipped_job_has_no_mistake(path: Path) -> None:
    assert read_job(path, Options()).steps


def test_the_demo_is_the_standard_backup_written_out() -> None:
    demo, full = (read_job(shipped(f"jobs/{name}.yaml"), Options()) for name in ("demo", "full"))
    shapes = [[(s.id, s.uses, s.each, s.needs, s.when, s.retries) for s in job.steps] for job in (demo, full)]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
def test_the_estate_runs_on_the_lab_that_is_shipped_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab.start(tmp_path / "lab", ESTATE, leashed=True)
    try:
        job = shipped("jobs/estate.yaml")
        found = select(job, Options(overrides={"lab": str(lab.directory)}))
        assert found.error is None and not found.items.unfit
        assert [one.item.name for one in found.items.left_out] == ["scratch", "web-test"]
        assert len(found.items.chosen) == 9
        with pytest.raises(SystemExit) as left:
            main(["run", "-q", str(job), f"--set=lab={lab.directory}", "--only=db-*", "--json"])
        assert not left.value.code
        runs = json.loads(capsys.readouterr().out)["runs"]
        assert sorted(run["points"][0].partition("/")[0] for run in runs) == ["db-1", "db-2"]
    finally:
        lab.stop()
