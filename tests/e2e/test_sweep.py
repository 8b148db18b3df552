"""What dead runs leave: found by identity, released by `sweep`, orphans only where nobody can be using them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.app.options import Options
from runner.app.records import new_record
from runner.app.sweep import abandon_run, sweep_job, sweep_orphans
from runner.app.workspace import open_workspace
from runner.base.errors import UsageError
from runner.engine.teardown import UnwindError
from runner.events.events import Event, NodeStarted
from runner.hosts.identity import own
from runner.hosts.local import LocalHost
from runner.hosts.lock_file import compose
from runner.hosts.stray_processes import end_session, holder_at, look, tidy
from runner.hosts.supervisor import mark_of
from steps.repository.layout import vm_directory
from tests.e2e.site import Site, disk, inventory
from tests.e2e.test_state_in_the_repository import job_on_the_hub
from tests.eventually import eventually

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "3 MiB", 0, 1)]}, {"name": "other", "disks": [disk(2000, "3 MiB", 0, 2)]}
)
LOST = "20260101T000000Z-00c0ffee"


def break_off(site: Site, job: Path | str = "vm") -> str:
    """A run that was stopped once its image was there; returns its id."""
    stop = threading.Event()

    def at_transfer(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "transfer[2000]":
            stop.set()

    ran = site.run(job, at_transfer, stop=stop)
    assert ran.exit_code == 130
    return ran.result.run


@pytest.fixture
def forgotten(site: Site) -> Iterator[str]:
    """A run whose records are lost: its snapshot and its partial point are there."""
    run = break_off(site)
    shutil.rmtree(site.directory / "state")
    yield run
    for partial in site.partials():
        shutil.rmtree(partial)


def exporter(site: Site, run: str, image: Path) -> subprocess.Popen[bytes]:
    """As one that its runner's death did not end, since the network was cut."""
    supervised = ["0", "", "qemu-nbd is not installed", "qemu-nbd", "--format=qcow2", str(image)]
    argv = ["sh", "-c", "read line", mark_of(run, "0" * 8), *supervised]
    return subprocess.Popen(argv, stdin=subprocess.PIPE)


def test_what_a_lost_run_left_is_found_and_released_while_its_vm_is_locked(site: Site, forgotten: str) -> None:
    (partial,) = site.partials()
    process = exporter(site, forgotten, partial / "disk-2000.qcow2")
    options = Options()
    try:
        would = sweep_orphans(site.job("vm"), options, dry_run=True)
        assert len(would.released) == 2
        assert any(forgotten in what for what in would.released)
        assert any(what.startswith(f"process {process.pid} (qemu-nbd) on ") for what in would.released)
        assert site.snapshots() == [f"sendense-{forgotten}"]
        assert process.poll() is None

        swept = sweep_orphans(site.job("vm"), options)
        assert swept.released == would.released
        assert site.snapshots() == []
        assert process.wait(10) is not None
        assert site.partials() == [partial], "copied data is not garbage"
    finally:
        process.kill()
        process.wait(10)
    assert site.run("vm").exit_code == 0


def test_what_a_lost_run_copied_is_named_and_goes_when_the_run_is_given_up(site: Site, forgotten: str) -> None:
    (partial,) = site.partials()
    stays = [what for what in sweep_orphans(site.job("vm"), Options(), dry_run=True).stays if str(partial) in what]
    assert [f"sweep {site.job('vm')} --abandon {forgotten}`" in what for what in stays] == [True]
    (lock,) = site.repository.glob("*/.lock")
    held = LocalHost().lock(str(lock), "run R of another job on another machine", "R:1")
    try:
        with pytest.raises(UnwindError, match="run R of another job"):
            abandon_run(site.job("vm"), forgotten, Options())
        assert site.partials() == [partial]
    finally:
        held.release()
    abandon_run(site.job("vm"), forgotten, Options())
    assert site.partials() == site.snapshots() == []
    with pytest.raises(UsageError, match="no unfinished run"):
        abandon_run(site.job("vm"), forgotten, Options())


def test_an_orphan_whose_vm_is_locked_stays_and_its_holder_is_named(site: Site, forgotten: str) -> None:
    (lock,) = site.repository.glob("*/.lock")
    held = LocalHost().lock(str(lock), "run R of another job on another machine", "R:1")
    try:
        for dry_run in (True, False):
            swept = sweep_orphans(site.job("vm"), Options(), dry_run=dry_run)
            assert swept.released == ()
            assert ["run R of another job" in why for why in swept.stays if f"sendense-{forgotten}" in why] == [True]
        assert site.snapshots() == [f"sendense-{forgotten}"]
    finally:
        held.release()
    assert sweep_orphans(site.job("vm"), Options()).released


def test_an_orphan_of_another_repository_is_only_listed(site: Site, forgotten: str) -> None:
    marker = site.repository / "repository.json"
    ours = marker.read_text()
    marker.write_text('{"uuid": "11111111-2222-4333-8444-555555555555", "version": 1}')
    try:
        swept = sweep_orphans(site.job("vm"), Options())
    finally:
        marker.write_text(ours)
    assert swept.released == ()
    assert ["is not one of this job" in why for why in swept.stays if f"sendense-{forgotten}" in why] == [True]
    assert site.snapshots() == [f"sendense-{forgotten}"]
    assert sweep_orphans(site.job("vm"), Options()).released


@pytest.mark.parametrize("on_the_hub", [False, True], ids=["beside-our-records", "in-the-repository"])
def test_what_another_job_can_go_on_with_is_no_orphan(site: Site, on_the_hub: bool) -> None:
    other = job_on_the_hub(site, "other", "theirs") if on_the_hub else site.job("other")
    run = break_off(site, other)
    swept = sweep_orphans(site.job("vm"), Options())
    assert not [what for what in swept.released if run in what]
    theirs = f"`sendense sweep {other} --abandon {run}`"
    assert [theirs in why for why in swept.stays if run in why] == [True, True], "snapshot and unfinished point"
    with pytest.raises(UnwindError, match=theirs):
        abandon_run(site.job("vm"), run, Options())
    assert site.snapshots() == [f"sendense-{run}"]
    abandon_run(other, run, Options(state=site.state))


def test_what_a_job_left_whose_records_cannot_be_looked_at_is_only_listed(site: Site) -> None:
    """On another machine they may be whole: the job that is asked says of its own runs only."""
    run = break_off(site, "other")
    (records,) = (site.directory / "state").glob(f"*/{run}")
    records.parent.rename(away := site.directory / "elsewhere")
    try:
        swept = sweep_orphans(site.job("vm"), Options())
        assert not [what for what in swept.released if run in what]
        for left in (f"sendense-{run}", f"{run}.partial"):
            assert [f"to the job {records.parent.name}" in why for why in swept.stays if left in why] == [True]
        assert site.snapshots() == [f"sendense-{run}"]
    finally:
        away.rename(records.parent)
    abandon_run(site.job("other"), run, Options())


def test_what_reads_a_point_is_no_orphan_since_its_run_needs_no_lock(site: Site) -> None:
    vm = site.repository / vm_directory("vm", "00000000-0000-4000-8000-000000000001")
    reader = exporter(site, LOST, vm / "20260101T000000Z-00c0" / "disk-2000.qcow2")
    try:
        assert eventually(lambda: any(one.run == LOST for one in look(LocalHost()).processes))
        swept = sweep_orphans(site.job("vm"), Options())
        assert swept.released == ()
        assert ["may live" in why for why in swept.stays if f"process {reader.pid} " in why] == [True]
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait(10)


def test_a_sweep_ends_what_a_dead_run_left_running_and_keeps_what_can_be_resumed(site: Site) -> None:
    run = break_off(site)
    (partial,) = site.partials()
    left, other = exporter(site, run, partial / "disk-2000.qcow2"), exporter(site, LOST, Path("/elsewhere.qcow2"))
    try:
        would = sweep_job(site.job("vm"), Options(), dry_run=True)
        assert left.poll() is None
        assert sweep_job(site.job("vm"), Options()) == would
        assert any(f"process {left.pid} " in what for what in would[0])
        assert left.wait(10) is not None
        assert other.poll() is None, "not of this job"
        assert list(would[1]) == [run]
        assert site.snapshots() == [f"sendense-{run}"]
        assert site.partials() == [partial]
    finally:
        for process in (left, other):
            process.kill()
            process.wait(10)
    assert site.run("vm").exit_code == 0


# On a host


def test_the_next_execution_of_a_run_ends_what_an_earlier_one_left_and_nothing_else(tmp_path: Path) -> None:
    host = LocalHost()
    mine, theirs, now = (
        subprocess.Popen(["sh", "-c", "read line", mark], stdin=subprocess.PIPE)
        for mark in (mark_of(LOST, "1"), mark_of(LOST + "x", "1"), mark_of(LOST, "2"))
    )
    try:
        pids = {mine.pid, theirs.pid, now.pid}
        assert eventually(lambda: pids <= {one.process.pid for one in look(host).processes})
        tidy(host, LOST, "2")
        assert mine.wait(10) is not None
        assert theirs.poll() is now.poll() is None
    finally:
        for process in (mine, theirs, now):
            process.kill()
            process.wait(10)


def test_only_who_has_the_jobs_lock_ends_what_the_run_left_since_it_may_be_alive(site: Site) -> None:
    left = subprocess.Popen(["sh", "-c", "read line", mark_of(LOST, "1")], stdin=subprocess.PIPE)
    try:
        assert eventually(lambda: left.pid in {one.process.pid for one in look(LocalHost()).processes})
        with open_workspace(site.job("vm"), Options(state=site.state), threading.Event(), ()) as workspace:
            workspace.run(new_record(workspace.job, LOST))
            workspace.world.context("publish").host("store")
            assert left.poll() is None
            with workspace.lock(LOST):
                workspace.world.context("publish").host("store")
            assert left.wait(10) is not None
    finally:
        left.kill()
        left.wait(10)


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm", "/var/tmp"])
def test_a_temporary_directory_outlives_a_power_cut_and_not_the_next_look(place: str) -> None:
    """The shell that keeps it is killed with everything else, and a password may be in it."""
    host = LocalHost()
    with host.tempdir() as alive:
        dead = Path(f"{place}/sd-{os.urandom(4).hex()}")
        shutil.copytree(alive, dead)
        (dead / "password").write_text("geheim")
        space, gone = Path("/proc/self/ns/pid").readlink(), own()
        identity = gone.__class__(gone.pid, gone.start + 1, gone.boot, gone.command)  # its number, given to another
        (dead / ".owner").write_text(f"{mark_of(LOST, '1')} {space} {identity}\n")
        found = {directory.path: directory.run for directory in look(host).directories}
        assert found[str(dead)] == LOST
        assert alive not in found
        tidy(host, LOST, "2")
        assert not dead.exists()
        assert Path(alive).exists()


def test_no_process_is_taken_for_the_holder_of_a_lock_by_its_number_alone(tmp_path: Path) -> None:
    """After a reboot another process has the number that the lock file names."""
    bystander = subprocess.Popen(["sleep", "600"])
    path, me = tmp_path / "lock", own()
    try:
        identity = me.__class__(bystander.pid, me.start, "0" * 8 + me.boot[8:], me.command)
        path.write_bytes(compose("run R", "R:1", identity))
        assert holder_at(LocalHost(), str(path)) is None
        end_session(LocalHost(), str(path), "R:1")
        assert bystander.poll() is None
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait(10)


def test_a_sweep_that_is_stopped_leaves_the_rest_to_the_next_one(site: Site) -> None:
    """In the middle of a removal: what is left is still known from the records, and nobody holds the job."""
    run = break_off(site)
    site.lab.fault("slow-task", parameters={"method": "RemoveSnapshot_Task", "seconds": "4"})
    words = [sys.executable, "-m", "runner.cli", "sweep", str(site.job("vm")), "--abandon", run]
    with subprocess.Popen([*words, f"--state={site.state}"], stderr=subprocess.PIPE, text=True) as sweeping:
        assert eventually(lambda: not site.lab.status()["armed"] or sweeping.poll() is not None, 60)
        sweeping.send_signal(signal.SIGTERM)
        said = sweeping.communicate(timeout=60)[1]
    assert sweeping.returncode == 130, said
    assert "what is not released yet is left to the next sweep" in said
    assert "Traceback" not in said
    options = Options(state=site.state)
    with open_workspace(site.job("vm"), options, threading.Event(), ()) as workspace:
        assert workspace.state.holder() is None
        (record,) = (record for record in workspace.state.runs().known if record.id == run)
        assert record.is_unfinished
    abandon_run(site.job("vm"), run, options)
    assert site.snapshots() == site.partials() == []
