"""Runs beside and after each other: locks, interruption, a byte that went bad, a plan that touches nothing."""

import json
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runner.app.inspection import diagnose, plan_job
from runner.app.options import Options
from runner.app.sweep import sweep_job
from runner.base.errors import LockedError
from runner.console.plan_view import headline
from runner.engine.job_state import JobState
from runner.events.events import Event, NodeFinished, NodeStarted
from runner.hosts.local import LocalHost
from steps.vsphere import snapshots
from steps.vsphere.client import Client
from steps.vsphere.section import VCenter
from tests.e2e.site import Pause, Ran, Site, disk, inventory, processes
from tests.eventually import eventually
from tests.records import rewrite

INVENTORY = inventory(
    {"name": "a", "disks": [disk(2000, "4 MiB", 0, 1), disk(2001, "3 MiB", 1, 2)]},
    {
        "name": "three",
        "disks": [disk(2000, "3 MiB", 0, 5), disk(2001, "2 MiB", 1, 6), disk(2016, "3 MiB", 2, 7)],
    },
    {"name": "a-b", "disks": [disk(2000, "4 MiB", 0, 3)]},
    {"name": "big", "disks": [disk(2000, "96 MiB", 0, 4)]},
)


def test_a_second_run_on_the_same_vm_and_repository_exits_3_and_names_the_holder(site: Site, tmp_path: Path):
    pause = Pause("publish")
    first: list = []
    thread = threading.Thread(target=lambda: first.append(site.run("a", pause)))
    thread.start()
    try:
        assert pause.reached.wait(60)
        with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
            site.run("a")  # the same job: its run is locked
        other = site.write_job("a-again", [
            {"id": "discover", "uses": "discover", "with": {"vcenter": "lab", "vm": "a"}},
            {"id": "reserve", "uses": "reserve", "with": {"vm": "${{ discover.vm }}", "repository": "main"}},
            {"id": "image", "uses": "create-qcow2", "with": {"vm": "${{ discover.vm }}", "disk": "${{ discover.disks[0] }}", "repository": "main"}},
        ])  # fmt: skip
        assert f"is running now (run {pause.run} of" in headline(
            plan_job(site.job("a"), Options(state=site.state), offline=False)
        )
        (problem,) = plan_job(other, Options(state=site.state), offline=False).problems
        (found,) = [
            one.found for one in diagnose(other, Options(state=site.state)).observations if one.state == "wrong"
        ]
        assert problem == f"reserve: {found}"
        assert f"locked by another run: run {pause.run} of" in found
        second = site.run(other)  # another job: the VM is locked
        assert second.exit_code == 3
        assert f"pid {os.getpid()}" in second.failures()["reserve"]
        assert second.acted() <= {"discover"}
    finally:
        pause.go_on.set()
        thread.join()
    assert first[0].exit_code == 0
    assert site.run(other, fresh=True).exit_code == 0  # nothing stands in its way now
    for partial in site.partials():  # that job does not publish
        shutil.rmtree(partial)


def test_vms_called_a_and_a_b_are_backed_up_side_by_side_undisturbed(site: Site):
    ran: dict = {}
    pause = Pause("transfer[2000]")
    thread = threading.Thread(target=lambda: ran.update(ab=site.run("a-b", pause)))
    thread.start()
    assert pause.reached.wait(60)
    ran["a"] = site.run("a")
    pause.go_on.set()
    thread.join()
    for name, keys in (("a", (2000, 2001)), ("a-b", (2000,))):
        vm = "a-b" if name == "a-b" else "a"
        done = ran["ab" if name == "a-b" else "a"]
        assert done.exit_code == 0, done.error
        assert site.images_equal_sources(vm, done.points()[0], keys)


def flip(image: Path, source: Path) -> int:
    """Changes one byte of the guest's disk inside the qcow2, behind everyone's back; returns its offset in the disk."""
    content = source.read_bytes()
    offset = next(at for at in range(1 << 20, len(content), 4096) if any(content[at : at + 4096]))
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {content[offset] ^ 0xFF} {offset} 1", str(image)]
    done = subprocess.run(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return offset


def test_a_byte_that_went_bad_publishes_nothing_and_the_next_run_heals_it(site: Site):
    flipped: list[int] = []
    source = site.source("a", 2000)

    def rot(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "verify[2000]":
            (partial,) = site.partials()
            flipped.append(flip(partial / "disk-2000.qcow2", source))

    points = site.points()
    first = site.run("a", rot)
    assert first.exit_code == 5
    block = flipped[0] >> 20 << 20
    assert "2000" in first.failures()["verify[2000]"]
    assert str(block) in first.failures()["verify[2000]"].replace(",", "")
    assert site.points() == points

    again = site.run("a", rot)  # at the same place: it is not the copy that is bad
    assert again.exit_code == 5
    assert again.acted() == {"transfer[2000]", "verify[2000]", "cleanup"}
    assert "storage" in again.failures()["verify[2000]"]
    assert "store" in again.failures()["verify[2000]"]

    healed = site.run("a")
    assert healed.exit_code == 0, healed.error
    assert healed.acted() == {"transfer[2000]", "verify[2000]", "publish", "cleanup"}
    assert site.images_equal_sources("a", healed.points()[0], (2000, 2001))


def corrupt_tables(image: Path) -> None:
    """One bit of the first L2 entry: it then points at a cluster that is not its own (qcow2: L1 table at byte 40)."""
    with image.open("r+b") as file:
        file.seek(40)
        (l1,) = struct.unpack(">Q", file.read(8))
        file.seek(l1)
        l2 = struct.unpack(">Q", file.read(8))[0] & 0x00FFFFFFFFFFFE00
        entries = file.seek(l2) and struct.unpack(">8192Q", file.read(65536))
        number = next(i for i, entry in enumerate(entries) if entry & 0x00FFFFFFFFFFFE00)
        file.seek(l2 + 8 * number)
        file.write(struct.pack(">Q", entries[number] ^ 1 << 20))


def test_an_image_whose_tables_went_bad_is_made_and_filled_anew(site: Site):
    def rot(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "verify[2000]":
            (partial,) = site.partials()
            corrupt_tables(partial / "disk-2000.qcow2")

    first = site.run("a-b", rot)
    assert first.exit_code == 5
    assert "corrupt" in first.failures()["verify[2000]"]
    healed = site.run("a-b")
    assert healed.exit_code == 0, healed.error
    assert {"image[2000]", "transfer[2000]", "verify[2000]"} <= healed.acted()
    assert site.images_equal_sources("a-b", healed.points()[0], (2000,))


def test_a_run_killed_right_after_its_point_was_published_never_loses_it(site: Site):
    def as_if_killed(run: str) -> None:
        (path,) = (site.directory / "state").glob(f"*/{run}/run.json")
        rewrite(path, lambda record: record.update(phase="working"))

    first = site.run("a-b")
    (point,) = first.points()
    as_if_killed(first.result.run)
    snapshots = site.lab.status()["calls"]["CreateSnapshot_Task"]
    again = site.run("a-b")
    assert again.exit_code == 0
    assert again.acted() == {"cleanup"}
    assert site.lab.status()["calls"]["CreateSnapshot_Task"] == snapshots
    as_if_killed(first.result.run)
    assert site.run("a-b", fresh=True).exit_code == 0
    assert point in site.points()
    assert site.images_equal_sources("a-b", point, (2000,))


def test_ctrl_c_in_a_copy_exits_130_leaves_nothing_running_and_the_next_run_resumes(site: Site):
    seen: list[Event] = []
    run = subprocess.Popen(
        [sys.executable, "-m", "runner.cli", "run", str(site.job("big")), "--events", str(site.state / "events")],
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    events = site.state / "events"
    assert eventually(
        lambda: (events.exists() and '"node-progress"' in events.read_text()) or run.poll() is not None, 60
    )
    run.send_signal(signal.SIGINT)
    assert run.stderr is not None
    said = run.stderr.read().decode()
    assert run.wait(60) == 130
    assert "run" in said
    assert len(site.snapshots()) == 1
    assert eventually(
        lambda: not [a for _, a in processes() if a[0] in ("nbdkit", "qemu-nbd") and "big" in " ".join(a)]
    )
    resumed = site.run("big", seen.append)
    assert resumed.exit_code == 0, resumed.error
    assert "image[2000]" in resumed.kept()
    assert site.snapshots() == []
    assert site.images_equal_sources("big", resumed.points()[0], (2000,))


def test_the_time_limit_of_a_pipeline_stops_a_run_in_order_and_keeps_its_report(site: Site):
    """By the command that `sendense ci` prints; SIGALRM is what its own clock sends to timeout(1)."""
    sendense = (sys.executable, "-m", "runner.cli")
    job = str(site.job("big").relative_to(site.directory))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    asked = subprocess.run(
        [*sendense, "ci", "gitlab", job],
        cwd=site.directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = [line for line in asked.stdout.splitlines() if "sendense run" in line and line.endswith(f" {job}")]
    words = shlex.split(line.strip().removeprefix("- "))
    at = words.index("sendense")
    report = str(site.state / "report")
    words[at:] = [*sendense, *(report if word == "report" else word for word in words[at + 1 :])]
    events = site.state / "events"
    run = subprocess.Popen(
        [*words, "--quiet", "--state", str(site.state), "--events", str(events)], cwd=site.directory, env=environment
    )
    assert eventually(
        lambda: (events.exists() and '"node-progress"' in events.read_text()) or run.poll() is not None, 60
    )
    run.send_signal(signal.SIGALRM)
    assert run.wait(60) == 124
    assert "interrupted" in (site.state / "report" / "report.md").read_text()
    assert site.run("big", fresh=True).exit_code == 0


def everything(site: Site) -> dict[str, int]:
    paths = [path for path in site.directory.rglob("*") if not path.is_relative_to(site.directory / "vcenter" / "tls")]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.name != "log"}


def test_a_plan_changes_nothing_anywhere(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    vcenter = f":{site.lab.record.vcenter.port}/"

    def servers() -> list[int]:
        ours = (str(site.directory), vcenter)
        return [
            pid
            for pid, argv in processes()
            if argv[0] in ("nbdkit", "qemu-nbd") and any(o in " ".join(argv) for o in ours)
        ]

    before, running = everything(site), servers()
    called = site.lab.status()["calls"]
    plan = plan_job(site.job("a"), Options(state=site.state), offline=False)
    assert not plan.problems
    assert everything(site) == before
    assert site.snapshots() == []
    assert not site.state.exists()
    assert list(temporary.iterdir()) == []
    assert servers() == running
    assert {name for name, count in site.lab.status()["calls"].items() if count != called.get(name, 0)} & {
        "CreateSnapshot_Task", "RemoveSnapshot_Task", "ReconfigVM_Task"} == set()  # fmt: skip


def test_a_run_with_other_vars_does_not_go_on_with_an_unfinished_one(site: Site):
    stop = threading.Event()

    def at_image(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.node == "image[2000]":
            stop.set()

    first = site.run("a-b", at_image, stop=stop)
    assert first.exit_code == 130
    with pytest.raises(Exception, match=r"other vars \(connections\)") as refused:
        site.run("a-b", connections="2")
    assert refused.value.exit_code == 2
    fresh = site.run("a-b", fresh=True, connections="2")
    assert fresh.exit_code == 0
    assert fresh.result.run != first.result.run
    assert site.partials() == []
    records = JobState(LocalHost("local"), str(site.directory / "state"), fresh.result.job.name).runs().known
    assert {record.id: record.phase for record in records}[first.result.run] == "abandoned"


def a_day_passes(site: Site, run: str) -> None:
    """For the record of the run's snapshot."""
    (path,) = (site.directory / "state").glob(f"*/{run}/nodes/snapshot.json")

    def age(record: dict) -> None:
        created = datetime.fromisoformat(record["out"]["created"]) - timedelta(days=1)
        record["out"]["created"] = created.isoformat()

    rewrite(path, age)


THREE = (2000, 2001, 2016)


def broken_off(site: Site) -> str:
    """A run of three disks of which one is done, one is copied; returns its id."""
    stop = threading.Event()

    def break_off(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "verify[2001]":
            stop.set()

    first = site.run("three", break_off, stop=stop, parallel=1)
    assert first.exit_code == 130
    assert {"verify[2000]", "transfer[2001]"} <= first.acted()
    return first.result.run


def remove_by_hand(site: Site, run: str) -> None:
    (path,) = (site.directory / "state").glob(f"*/{run}/nodes/snapshot.json")
    taken = json.loads(path.read_text())["out"]
    at = site.lab.record.vcenter
    section = VCenter.from_json_value(
        {
            "server": at.server,
            "port": at.port,
            "username": at.username,
            "password": {"file": at.password_file},
            "tls": {"ca": at.ca},
        }
    )
    with Client("lab", section) as client:
        snapshots.remove(client, taken["vm"], taken["moref"])


def guest_writes_on(site: Site, seed: int) -> None:
    for key in THREE:
        site.lab.write("three", key, 1 << 20, iter([bytes([seed, key & 0xFF]) * 2048]))


def is_of_the_new_moment(site: Site, ran: Ran, run: str) -> bool:
    assert ran.exit_code == 0, ran.error
    assert ran.result.run == run
    copies = {f"{step}[{key}]" for step in ("transfer", "verify") for key in THREE}
    assert copies | {"discover", "snapshot"} <= ran.acted()
    (point,) = ran.points()
    created = json.loads((point / "manifest.json").read_text())["created"]
    assert datetime.fromisoformat(created) == datetime.fromisoformat(ran.output("snapshot")["created"])
    return site.images_equal_sources("three", point, THREE) and site.snapshots() == []


@pytest.mark.parametrize("by", ["sweep", "run"])
def test_a_snapshot_held_too_long_is_released_and_replaced_by_the_next_run(site: Site, by: str):
    """The guest writes on meanwhile; every disk of the point is then of the new moment."""
    run = broken_off(site)
    (held,) = site.snapshots()
    released, holding, _ = sweep_job(site.job("three"), Options(state=site.state))
    assert (released, list(holding)) == ((), [run])
    assert site.snapshots() == [held]
    a_day_passes(site, run)
    if by == "sweep":
        (gone,), *_ = sweep_job(site.job("three"), Options(state=site.state))
        assert "snapshot" in gone
        assert site.snapshots() == []
    guest_writes_on(site, len(by))
    assert is_of_the_new_moment(site, site.run("three"), run)


def test_a_run_does_not_go_on_with_a_snapshot_over_its_hold_that_cannot_be_removed(site: Site):
    run = broken_off(site)
    a_day_passes(site, run)
    site.lab.fault("fail-task", parameters={"method": "RemoveSnapshot_Task"})
    refused = site.run("three")
    assert refused.exit_code == 1
    assert refused.acted() == set()
    assert "its hold of 12 h 00 min has expired, and the run does not continue" in refused.failures()["snapshot"]
    assert len(site.snapshots()) == 1
    assert is_of_the_new_moment(site, site.run("three"), run)


def test_a_snapshot_removed_by_hand_is_replaced_and_every_disk_is_of_the_new_moment(site: Site):
    run = broken_off(site)
    guest_writes_on(site, 9)
    remove_by_hand(site, run)
    assert is_of_the_new_moment(site, site.run("three"), run)


def test_a_snapshot_that_somebody_removed_is_replaced(site: Site):
    site.lab.fault("snapshot-gone")  # when the next call names it
    first = site.run("a")
    assert first.exit_code == 1
    assert "no longer exists" in first.error
    for key in (2000, 2001):
        site.lab.write("a", key, 2 << 20, iter([bytes([key & 0xFF, 7]) * 2048]))
    ran = site.run("a")
    assert ran.exit_code == 0, ran.error
    assert {"snapshot", "transfer[2000]", "transfer[2001]"} <= ran.acted()
    assert site.images_equal_sources("a", ran.points()[0], (2000, 2001))
