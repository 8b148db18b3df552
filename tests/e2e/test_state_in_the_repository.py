"""The records of runs lie with the repository, so that any machine can resume a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.inspection import plan_job
from runner.app.options import Options, read_job
from runner.app.records import new_record
from runner.app.workspace import open_workspace
from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.cli import main
from runner.engine.job_state import KEPT_RUNS, JobState
from runner.events.events import NodeProgress
from runner.events.journal import read_events
from runner.hosts.local import LocalHost
from runner.job.writer import write_out
from tests.e2e.site import Pause, Ran, Site, disk, inventory, processes
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
SIZE = 128 * MiB
WINDOW = 4 * MiB
INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "128 MiB", 0, 1)]}, {"name": "small", "disks": [disk(2000, "3 MiB", 0, 2)]}
)


def job_on_the_hub(site: Site, vm: str, name: str, window: int = WINDOW) -> Path:
    """The lab's job of that VM, with its records in the repository and a window small enough to tell."""
    document: dict[str, Any] = yaml.safe_load(write_out(read_job(site.job(vm), Options())))
    document |= {"name": name, "state": {"in": "repositories.main"}}
    next(step for step in document["steps"] if step["id"] == "transfer")["with"]["window"] = window
    path = site.directory / "jobs" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


class Machine:
    """A machine that knows nothing: a home of its own, and `sendense` in it."""

    def __init__(self, site: Site, home: Path) -> None:
        self.home = home
        home.mkdir()
        self._site = site
        self._runs = 0

    def start(self, job: Path, *options: str) -> subprocess.Popen[str]:
        self._runs += 1
        self.events = self._site.state.parent / f"{self.home.name}-{self._runs}.jsonl"
        return subprocess.Popen(
            [sys.executable, "-m", "runner.cli", "run", str(job), "--events", str(self.events), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    def run(self, job: Path, *options: str) -> tuple[int, str]:
        """Exit code and what it said."""
        process = self.start(job, *options)
        _, said = process.communicate(timeout=120)
        self.ended()
        return process.returncode, said

    def ended(self) -> None:
        """What its run opened must be gone."""
        if self.events.exists():
            self._site.events += read_events(self.events)

    def told(self, kind: str) -> list[dict[str, Any]]:
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if event["type"] == kind]

    def read(self) -> int:
        """Bytes of the source that its last run read, holes included."""
        found = [event for event in read_events(self.events) if isinstance(event, NodeProgress)]
        return max((event.data + event.zero for event in found if event.phase == "copy"), default=0)


def records(site: Site, name: str) -> JobState:
    return JobState(LocalHost("local"), str(site.repository / ".state"), name)


def test_a_run_whose_machine_is_lost_is_finished_by_another_from_the_same_snapshot(site: Site, tmp_path: Path) -> None:
    job = job_on_the_hub(site, "vm", "lost")
    first = Machine(site, tmp_path / "first")
    process = first.start(job)
    assert eventually(lambda: process.poll() is not None or _copied(site, "lost") > SIZE // 4, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    first.ended()
    (snapshot,) = site.snapshots()
    before = first.read()
    assert before < SIZE, "it was killed too late to tell"
    shutil.rmtree(first.home)

    second = Machine(site, tmp_path / "second")
    code, said = second.run(job)
    assert code == 0, said
    (run,) = records(site, "lost").runs().known
    assert snapshot == f"sendense-{run.id}"
    assert run.phase == "finished"
    assert second.read() + before - SIZE <= WINDOW
    (point,) = site.points()
    assert site.images_equal_sources("vm", point, (2000,))
    assert site.snapshots() == site.partials() == []


class Frozen:
    """A run and its ssh processes stopped in the middle of a copy: to the hub it is as if the network were cut."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._pids = [process.pid]
        os.kill(process.pid, signal.SIGSTOP)
        self._pids += [pid for pid, argv in processes() if Path(argv[0]).name == "ssh" and _descends(pid, process.pid)]
        for pid in self._pids[1:]:
            os.kill(pid, signal.SIGSTOP)

    def wake(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


def test_a_frozen_run_keeps_its_lock_until_it_is_broken_and_then_writes_nothing(site: Site, tmp_path: Path) -> None:
    job = job_on_the_hub(site, "vm", "frozen")
    first, second = Machine(site, tmp_path / "first"), Machine(site, tmp_path / "second")
    process = first.start(job)
    assert eventually(lambda: process.poll() is not None or _copied(site, "frozen") > SIZE // 8, 60)
    frozen = Frozen(process)
    try:
        before = set(site.points())
        code, said = second.run(job)
        assert code == 3
        assert f"on {socket.gethostname()}, pid {process.pid}" in said
        code, said = second.run(job, "--break-lock")
        assert code == 0, said
        assert not exporters(site)
        (point,) = set(site.points()) - before
        assert site.images_equal_sources("vm", point, (2000,))
        left = everything(site.repository)
    finally:
        frozen.wake()
        _, said = process.communicate(timeout=120)
    first.ended()
    assert process.returncode == 3, said
    assert "to another process that resumed this run " in said
    assert "locked by another run" not in said
    assert everything(site.repository) == left
    (run,) = records(site, "frozen").runs().known
    assert run.phase == "finished"
    assert site.snapshots() == []


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
        except OSError:
            return False
    return pid == ancestor


def exporters(site: Site) -> list[list[str]]:
    return [argv for _, argv in processes() if argv[0] == "qemu-nbd" and str(site.directory) in argv[-1]]


def everything(root: Path) -> dict[str, tuple[int, int]]:
    """But the locks: looking whether one is free names who looked."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*") if path.name != ".lock"
    }


def _copied(site: Site, name: str) -> int:
    """Bytes that the ledger of the job's newest run names as safe, roughly: 44 characters a MiB."""
    return sum(path.stat().st_size // 44 * MiB for path in site.repository.glob(f".state/{name}/*/ledger/disk-*"))


def test_another_machine_is_told_by_the_records_how_far_a_run_is(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_on_the_hub(site, "small", "watched")

    def status(*options: str) -> str:
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["status", str(job), "--state", str(tmp_path / "elsewhere"), *options])
        return capsys.readouterr().out

    pause, before = Pause("verify[2000]"), site.run(job)
    running: list[Ran] = []
    thread = threading.Thread(target=lambda: running.append(site.run(job, pause)))
    thread.start()
    try:
        assert pause.reached.wait(60)
        said, text = json.loads(status("--json")), status()
    finally:
        pause.go_on.set()
        thread.join()
    states = {node["node"]: node["state"] for node in said["nodes"]}
    assert (states["snapshot"], states["transfer[2000]"]) == ("done", "done")
    assert text.index(running[0].result.run) < text.index(before.result.run)
    assert "transfer[2000]" in text
    assert "Bytes and speeds are in its events, on the machine that ran it" in text
    assert "From the run's records" not in status()  # it is over


def test_no_record_is_made_where_the_repository_is_not_there(site: Site, tmp_path: Path) -> None:
    """As with a disk that is not mounted: its directory is there, and belongs to the root disk."""
    job = job_on_the_hub(site, "small", "unmounted")
    away = tmp_path / "repository"
    site.repository.rename(away)
    site.repository.mkdir()
    try:
        with pytest.raises(SendenseError, match="mount its disk"):
            site.run(job)
        assert list(site.repository.iterdir()) == []
    finally:
        site.repository.rmdir()
        away.rename(site.repository)


def test_events_of_runs_that_are_remembered_no_longer_are_removed_from_this_machine(site: Site) -> None:
    with open_workspace(
        job_on_the_hub(site, "small", "many"), Options(state=site.state), threading.Event(), ()
    ) as workspace:
        known, old, of_before = (new_record(workspace.job, f"20260101T00000{number}Z-00c0ffee") for number in range(3))
        newest = [workspace.directory(f"20260102T0000{number:02}Z-00c0ffee") for number in range(KEPT_RUNS)]
        workspace.state.open(known.id).create(known)
        for directory in (*map(workspace.directory, (known.id, old.id, of_before.id)), *newest):
            directory.mkdir(parents=True)
            (directory / "events.jsonl").touch()
        (workspace.directory(of_before.id) / "run.json").touch()
        (reports := workspace.directory("reports")).mkdir()
        workspace.forget_old()
        left = {workspace.directory(known.id), workspace.directory(of_before.id), reports, *newest}
        assert set(reports.parent.iterdir()) == left


def test_a_plan_of_a_job_with_its_records_on_the_hub_makes_nothing_there(site: Site) -> None:
    job = job_on_the_hub(site, "small", "planned")
    before = sorted(site.repository.rglob("*"))
    assert not plan_job(job, Options(), offline=False).problems
    assert sorted(site.repository.rglob("*")) == before


def test_the_standard_job_keeps_its_records_on_the_hub(site: Site) -> None:
    job = site.directory / "jobs" / "standard.yaml"
    parts = yaml.safe_load((site.directory / "site.yaml").read_text())
    del parts["state"]  # the lab's own
    document = {**parts, "template": "backup", "vars": {"vm": "small", "vcenter": "lab", "repository": "main"}}
    job.write_text(yaml.safe_dump(document))
    place = read_job(job, Options()).state_place
    assert place is not None
    assert (place.host, place.path) == ("store", f"{site.repository}/.state")
