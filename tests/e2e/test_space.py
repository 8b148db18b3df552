"""Plan and run of a VM that does not fit into what is free, on a real small file system behind sshd."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runner.app.inspection import plan_job
from runner.app.options import Options
from runner.engine.plan import Plan
from runner.hosts.local import LocalHost
from steps.repository import marker
from tests.e2e.site import Site, disk, inventory

INVENTORY = inventory({"name": "thin", "disks": [disk(2000, "24 MiB", 0, 1), disk(2001, "24 MiB", 1, 2)]})


@pytest.fixture(autouse=True)
def _repository(small: Path) -> None:
    marker.init(LocalHost("hub"), str(small / "repository"))


def job_of(site: Site, vm: str, small: Path) -> Path:
    path = site.directory / "jobs" / f"{vm}-small.yaml"
    document = {
        "version": 1,
        "include": "../site.yaml",
        "template": "backup",
        "vars": {"vm": vm, "vcenter": "lab", "repository": "small", "transport": "https"},
        "repositories": {"small": {"host": "store", "path": str(small / "repository")}},
        "state": {"path": str(site.state)},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def plan(site: Site, job: Path) -> Plan:
    return plan_job(job, Options(state=site.state), offline=False)


def test_disks_that_fit_one_by_one_and_not_together_are_a_problem_of_the_plan_and_refused_by_the_run(
    site: Site, small: Path
) -> None:
    job = job_of(site, "thin", small)
    (needed,) = plan(site, job).space
    assert (needed.fits, needed.note is not None) == ("yes", False)
    assert 2 * (1 << 20) < needed.least < needed.most == 50 << 20

    taken = small / "others"
    taken.write_bytes(bytes(needed.free - needed.least + (4 << 10)))
    made = plan(site, job)
    (problem,) = made.problems
    assert "it does not fit (disk 2000: " in problem
    assert "allocated, thin; disk 2001: " in problem
    ran = site.run(job)
    assert ran.exit_code == 1
    assert "it does not fit" in ran.error
    assert site.snapshots() == []
    assert not list(small.glob("repository/*/*.partial"))

    taken.write_bytes(bytes(needed.free - needed.least - (8 << 20)))
    made = plan(site, job)
    assert made.problems == ()
    assert made.space[0].note is not None
    assert "it may not fit" in made.space[0].note
