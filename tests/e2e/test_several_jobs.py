"""What `run`, `status` and `sweep` say of several jobs: which of them failed, and why, without reading everything."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.events.events import NodeStarted
from runner.events.journal import read_events
from tests.e2e.site import Site, disk, inventory
from tests.eventually import eventually

INVENTORY = inventory(*({"name": name, "disks": [disk(2000, "1 MiB", 0, 1)]} for name in ("vm", "second", "third")))


def call(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in argv])
    return int(leaving.value.code or 0)


@pytest.fixture
def jobs(site: Site) -> list[Path]:
    """One that is done, one that is no job, one whose VM is not there, one that cannot begin."""
    discover = {"id": "discover", "uses": "discover", "with": {"vcenter": "lab", "vm": "gone"}}
    keyless = site.write_job("keyless", [discover], hosts={"other": {"ssh": "a@127.0.0.1", "identity": {"file": "no"}}})
    keyless.write_text(keyless.read_text() + "state: {host: other, path: /state}\n")
    return [site.job("vm"), site.directory / "jobs" / "nope.yaml", site.write_job("lost", [discover]), keyless]


def test_a_run_of_several_ends_with_a_line_for_each_what_needs_somebody_last(
    site: Site, jobs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "-q", "--report", tmp_path / "reports", "--json", *jobs) == 4
    said = capsys.readouterr()
    runs = {Path(run["file"]).stem: run for run in json.loads(said.out)["runs"]}
    lines = said.err[said.err.index("1 of 4 jobs is done") :].splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["vm-backup", str(jobs[1]), "lost", str(jobs[3])]
    done, nope, lost, keyless = lines[2:]
    (point,) = site.points()
    assert "done" in done and f"vm/{point.name}" in done
    assert "bad job file" in nope
    assert "failed" in lost and "discover: " in lost and "gone" in lost
    assert "not started" in keyless and "private key" in keyless
    # Each sentence above says whose it is.
    above = said.err[: said.err.index("1 of 4 jobs is done")]
    assert f"sendense: {jobs[3]}: the private key" in above
    assert "✓ Done: vm, full, 1.0 MiB copied, 1 disk of 1.0 MiB, every block verified, " in above
    assert re.search(r"✗ Failed: lost, [^,]*, discover failed; fix that first, then: sendense run ", above)
    assert runs["vm"]["points"] == [f"vm/{point.name}"]
    assert (runs["vm"]["bytes"], [disk["copied"] for disk in runs["vm"]["disks"]]) == (1 << 20, [1 << 20])
    assert runs["vm"]["seconds"] > 0 and runs["vm"]["warnings"] == []
    assert [failure["node"] for failure in runs["lost"]["failures"]] == ["discover"]
    assert {each.name for each in (tmp_path / "reports").iterdir()} == {
        f"vm-backup-{runs['vm']['run']}",
        f"lost-{runs['lost']['run']}",
    }


def test_one_job_has_no_table_and_its_report_no_directory_of_its_own(
    jobs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "-q", "--report", tmp_path, jobs[2]) == 1
    assert "jobs" not in capsys.readouterr().err.replace(str(jobs[2]), "")
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/reports"])
def test_nothing_runs_where_its_report_has_no_place(
    where: str, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    points = site.points()
    assert call("run", "--report", tmp_path / where, site.job("vm")) == 2
    assert f"cannot write reports into {tmp_path / where}" in capsys.readouterr().err
    assert site.points() == points


def test_the_status_of_several_is_a_line_for_each(jobs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    call("run", "-q", *jobs)
    capsys.readouterr()
    assert call("status", *jobs) == 4
    text = capsys.readouterr()
    lines = {line.split()[0]: line for line in text.out.splitlines()}
    assert "done" in lines["vm-backup"]
    assert "resumable" in lines["lost"] and "gone" in lines["lost"]
    assert f"sendense: {jobs[3]}: the private key" in text.err
    assert call("status", "--json", jobs[0], jobs[2]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [job["job"] for job in document["jobs"]] == ["vm-backup", "lost"]
    assert document["jobs"][1]["runs"][-1]["phase"] == "working"


def test_a_sweep_of_several_goes_on_after_one_that_failed(jobs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    call("run", "-q", *jobs)
    capsys.readouterr()
    assert call("sweep", jobs[3], jobs[0], jobs[2]) == 4
    said = capsys.readouterr().err
    assert f"sendense: {jobs[3]}: the private key" in said
    assert f"{jobs[0]}: no unfinished run holds anything" in said
    assert call("sweep", "--abandon", "x", *jobs) == 2


def test_jobs_run_at_once_and_one_signal_stops_them_all(site: Site, tmp_path: Path) -> None:
    """Both are seen at work on their snapshots before either is done; the third was not reached. The same command then
    finishes what is left."""
    jobs = [site.job(vm) for vm in ("vm", "second", "third")]
    before = len(site.points())
    events = tmp_path / "events.jsonl"
    argv = [sys.executable, "-m", "runner.cli", "run", "--parallel", "2", "--events", str(events), *map(str, jobs)]
    site.lab.fault("slow-task", count=2, parameters={"method": "CreateSnapshot_Task", "seconds": "20"})

    def snapshots_begun() -> int:
        told = read_events(events) if events.exists() else []
        return sum(isinstance(event, NodeStarted) and event.step == "snapshot" for event in told)

    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as running:
        assert eventually(lambda: snapshots_begun() == 2, 60)
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 130, said
    assert len(site.points()) == before
    lines = {line.split()[0]: line for line in said[said.index("0 of 3 jobs are done") :].splitlines()[2:]}
    assert all("interrupted" in lines[f"{vm}-backup"] for vm in ("vm", "second")), said
    assert "not started" in lines[str(jobs[2])], said

    assert call("run", "-q", "--parallel", "3", *jobs) == 0
    assert len(site.points()) == before + 3
