"""Runs of job files that were deleted, on a vCenter and a repository host: found by their records, released by the logins
that the site has now."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from runner.events.events import Event, NodeStarted
from tests.e2e.site import Site, disk, inventory
from tests.e2e.test_several_jobs import call

INVENTORY = inventory({"name": "vm", "disks": [disk(2000, "3 MiB", 0, 1)]})


def break_off(site: Site, job: Path, state: Path | None, **settings: str) -> str:
    """A run that was stopped once its image was there; returns its id."""
    stop = threading.Event()

    def at_transfer(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "transfer[2000]":
            stop.set()

    ran = site.run(job, at_transfer, stop=stop, state=state, **settings)
    assert ran.exit_code == 130
    return ran.result.run


def test_a_snapshot_of_a_deleted_job_file_is_released_at_its_hold_with_the_logins_of_now(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    here = site.directory / "site.yaml"
    password = site.directory / "old-password"
    shutil.copy(site.directory / "password", password)
    now = here.read_text()
    before = now.replace(str(site.directory / "password"), str(password))
    assert before != now
    here.write_text(before)
    job = site.directory / "jobs" / "deleted.yaml"
    job.write_text(site.job("vm").read_text())
    held = break_off(site, job, site.directory / "state", hold="12h")
    job.unlink()
    # The password has another place since, and the run's own reference leads nowhere.
    here.write_text(now)
    password.unlink()

    assert call("sweep", here, "--all") == 0
    said = capsys.readouterr().err
    assert f"run {held} is unfinished" in said and site.snapshots() == [f"sendense-{held}"]
    assert call("status", here, "--json") == 0
    (known,) = [one for one in json.loads(capsys.readouterr().out)["jobs"] if one["run"] == held]
    assert "deleted.yaml" in known["file"]

    assert call("sweep", here, "--all", "--abandon", held) == 0
    assert site.snapshots() == site.partials() == []


def test_an_entry_that_is_another_machine_now_is_not_taken_for_the_old_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The site's `lab` leads elsewhere: the run's own entry is worked with."""
    here, job = site.directory / "site.yaml", site.directory / "jobs" / "deleted.yaml"
    job.write_text(site.job("vm").read_text())
    held = break_off(site, job, site.directory / "state", hold="12h")
    job.unlink()
    text = here.read_text()
    here.write_text(text.replace('server: "127.0.0.1"', 'server: "127.0.0.2"'))
    try:
        assert call("sweep", here, "--all", "--abandon", held) == 0
    finally:
        here.write_text(text)
    assert site.snapshots() == site.partials() == []


def test_records_on_another_machine_do_not_choose_who_gets_passwords_of_this_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    here, job = site.directory / "site.yaml", site.directory / "jobs" / "deleted.yaml"
    text = here.read_text()
    remote = "".join(line for line in text.splitlines(True) if not line.startswith("state:"))
    remote += "state: {in: repositories.main}\n"
    here.write_text(remote)
    job.write_text(site.job("vm").read_text())
    held = break_off(site, job, None, hold="12h")
    job.unlink()
    here.write_text(remote.replace('server: "127.0.0.1"', 'server: "127.0.0.2"'))
    for words in ((), ("--abandon", held)):
        assert call("sweep", here, "--all", *words) == 1
        assert f"worked with vcenters.lab, which {here} does not have" in capsys.readouterr().err
    here.write_text(remote)
    assert call("sweep", here, "--all", "--abandon", held) == 0
    assert site.snapshots() == site.partials() == []
