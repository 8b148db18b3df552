"""A VM without changed block tracking: who looks is told what it costs, and the word that switches it on."""

from __future__ import annotations

from pathlib import Path

from runner.app.inspection import diagnose
from runner.app.options import Options
from runner.events.check_results import Observation
from tests.estate import Estate, disk, estate, inventory, machine

REMEDY = "`cbt: enable` in vars switches it on"


def of_tracking(site: Estate, job: Path) -> Observation:
    found = diagnose(job, Options(state=site.directory / "state")).observations
    return next(one for one in found if one.looked_at == "changed block tracking")


def test_the_doctor_and_the_plan_say_what_switches_tracking_on_until_the_job_says_it(tmp_path: Path) -> None:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "1 MiB")))}) as site:
        job = site.job()
        told = of_tracking(site, job)
        assert told.state == "noted"
        assert told.remedy.startswith(f"{REMEDY}; without it every backup is a full")
        assert any(REMEDY in note for note in next(n for n in site.plan(job).nodes if n.id == "snapshot").notes)

        point = site.backup(job)
        (why,) = next(node for node in site.plan(job).nodes if node.id == "parent[2000]").notes[-1:]
        assert (
            why
            == f"full of 1.0 MiB: changed block tracking was off for it when {point.name} was made, and still is: {REMEDY}"
        )

        job = site.job(cbt="enable")
        assert of_tracking(site, job).state == "good"
        (why,) = next(node for node in site.plan(job).nodes if node.id == "parent[2000]").notes[-1:]
        assert why.endswith(f"when {point.name} was made, and still is: this run switches it on")
