from __future__ import annotations

from pathlib import Path

import pytest

from runner.app.options import Options, read_job
from runner.base.render import shipped

SITE = "site.yaml"
JOBS = sorted(path for path in shipped("jobs").glob("*.yaml") if path.name != SITE)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_shipped_job_has_no_mistake(path: Path) -> None:
    assert read_job(path, Options()).steps


def test_the_demo_is_the_standard_backup_written_out() -> None:
    demo, full = (read_job(shipped(f"jobs/{name}.yaml"), Options()) for name in ("demo", "full"))
    shapes = [[(s.id, s.uses, s.each, s.needs, s.when, s.retries) for s in job.steps] for job in (demo, full)]
    assert shapes[0] == shapes[1]
