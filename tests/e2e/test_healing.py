"""What breaks under a run and comes back, or does not: it heals inside the run, or stops the one disk with one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runner.app.options import Options
from runner.app.workspace import open_workspace
from runner.base.units import MiB
from runner.engine.checkpoint import RunState
from runner.engine.job_state import JobState
from runner.events.events import Event, NodeProgress, NodeRetrying, NodeStarted, RunFinished, Warned
from runner.hosts.host import Lock
from runner.hosts.local import LocalHost
from runner.hosts.lock_file import read_lock
from runner.hosts.stray_processes import holder_at
from runner.hosts.supervisor import LeashedChild
from steps.incremental.disk_ledger import DiskLedger
from steps.lab.sshd import Sshd
from steps.source import nbdkit_curl
from steps.vsphere import snapshots
from steps.vsphere.client import Client
from tests.e2e.site import Ran, Site, disk, inventory, processes, same
from tests.e2e.test_state_in_the_repository import job_on_the_hub, records
from tests.eventually import eventually

INVENTORY = inventory(
    {"name": "torn", "disks": [disk(2000, "1 MiB", 0, 1), disk(2001, "4 MiB", 1, 2), disk(2002, "1 MiB", 2, 3)]},
    {"name": "big", "disks": [disk(2000, "40 MiB", 0, 4)]},
    {"name": "cut", "disks": [disk(2000, "12 MiB", 0, 13)]},
    {"name": "lost", "disks": [disk(2000, "12 MiB", 0, 11), disk(2001, "12 MiB", 1, 12)]},
    {"name": "frozen-hub", "disks": [disk(2000, "12 MiB", 0, 5)]},
    {"name": "frozen-source", "disks": [disk(2000, "12 MiB", 0, 6)]},
    {"name": "outage", "disks": [disk(2000, "12 MiB", 0, 7)]},
    {"name": "ending", "disks": [disk(2000, "1 MiB", 0, 14)]},
    {"name": "revoked", "disks": [disk(2000, "12 MiB", 0, 10)]},
    {"name": "expiring", "disks": [disk(2000, "2 MiB", 0, 8)]},
    {
        "name": "many",
        "controllers": [{"key": 1000 + number, "kind": "pvscsi"} for number in range(4)],
        "disks": [
            disk(2000 + 16 * number + unit, "64 KiB", unit, 16 * number + unit, controller=1000 + number)
            for number in range(4)
            for unit in (0, 1, 2, 3, 4, 5, 6, 8)
        ],
    },
)
WINDOW = 4 * MiB


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits are short, so that the tests are."""
    monkeypatch.setattr("runner.engine.retry.FIRST_WAIT", 0.2)


def retried(ran: Ran) -> list[NodeRetrying]:
    return [event for event in ran.events if isinstance(event, NodeRetrying)]


def whole_run(ran: Ran, site: Site, vm: str, *keys: int) -> None:
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    assert site.images_equal_sources(vm, point, keys)
    assert site.lab.status()["snapshots"][site.lab.record.vm(vm).path] == []


@pytest.fixture
def at_flush(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[int, Callable[[], object]]], None]]:
    """`at_flush({3: act})`: after the third time that a FLUSH's ranges were recorded, `act` is called."""
    count = 0
    acts: dict[int, Callable[[], object]] = {}
    record = DiskLedger.record

    def recorded(self: DiskLedger, ranges: object) -> None:
        nonlocal count
        record(self, ranges)  # type: ignore[arg-type]
        count += 1
        acts.pop(count, lambda: None)()

    monkeypatch.setattr(DiskLedger, "record", recorded)
    yield acts.update
    assert acts == {}, "the copy ended before"


def pids(site: Site, program: str) -> list[int]:
    """Of the runs of this lab: their command lines name an image of its hub, or its vCenter's port."""
    marks = (f"{site.directory}/", f":{site.lab.record.vcenter.port}/")
    return [
        pid for pid, argv in processes() if Path(argv[0]).name == program and any(m in " ".join(argv) for m in marks)
    ]


def kill_tunnels(site: Site) -> None:
    """The ssh processes that carry data to this lab's hub, which their configuration names."""
    killed = 0
    for pid, argv in processes():
        if argv[:2] == ["ssh", "-F"] and f"Port {site.lab.record.store.port}\n" in content(argv[2]):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed


def content(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def send(site: Site, program: str, number: signal.Signals) -> None:
    found = pids(site, program)
    assert found
    for pid in found:
        os.kill(pid, number)


def test_what_is_killed_in_the_middle_of_a_copy_is_opened_again_and_the_copy_goes_on(site: Site, at_flush) -> None:
    at_flush(dict.fromkeys((2, 4, 6, 8, 10), lambda: kill_tunnels(site)))
    at_flush({12: lambda: send(site, "qemu-nbd", signal.SIGKILL), 14: lambda: send(site, "nbdkit", signal.SIGKILL)})
    before = site.lab.status()["calls"].get("GET /folder", 0)
    ran = site.run("big", window=str(WINDOW))
    whole_run(ran, site, "big", 2000)
    assert len(retried(ran)) == 7
    assert all("the connection broke" in event.error for event in retried(ran)), retried(ran)
    # One request reads one MiB.
    read = site.lab.status()["calls"]["GET /folder"] - before
    assert read <= 40 + 7 * WINDOW // MiB
    assert goes_back_at_most(ran, WINDOW)


def goes_back_at_most(ran: Ran, window: int) -> bool:
    seen = [e.done for e in ran.events if isinstance(e, NodeProgress) and e.phase == "copy"]
    return all(later >= earlier - window for earlier, later in pairwise(seen))


def test_a_place_that_cannot_be_read_stops_that_disk_at_once_and_the_others_finish(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rescued = tmp_path / "map"
    rescued.write_text("0x0 + 1\n0x0 0x100000 +\n0x100000 0x200 -\n0x100200 0x2ffe00 +\n")
    original = nbdkit_curl.argv

    def with_a_bad_sector(url: str, **more: str) -> tuple[str, ...]:
        nbdkit, *rest = original(url, **more)
        if "torn_1-flat" not in url:
            return (nbdkit, *rest)
        return (nbdkit, "--filter=ddrescue", *rest, f"ddrescue-mapfile={rescued}")

    with monkeypatch.context() as harm:
        harm.setattr(nbdkit_curl, "argv", with_a_bad_sector)
        first = site.run("torn", connections="1")
    assert first.exit_code == 1
    assert set(first.failures()) == {"transfer[2001]"}
    said = first.failures()["transfer[2001]"]
    assert "source of disk 2001 failed: read of 1.0 MiB at offset 1048576: Input/output error" in said
    assert retried(first) == []
    assert {"verify[2000]", "verify[2002]"} <= first.acted()
    again = site.run("torn", connections="1")
    assert again.result.run == first.result.run
    assert again.acted() == {"transfer[2001]", "verify[2001]", "publish", "cleanup"}
    whole_run(again, site, "torn", 2000, 2001, 2002)


@pytest.mark.parametrize(
    ("vm", "program", "waits_for"),
    [("frozen-hub", "qemu-nbd", "image"), ("frozen-source", "nbdkit", "source")],
    ids=["hub", "source"],
)
def test_a_frozen_server_is_named_within_the_stall_timeout_and_replaced(
    site: Site, at_flush, vm: str, program: str, waits_for: str
) -> None:
    moments: list[float] = []

    def freeze() -> None:
        send(site, program, signal.SIGSTOP)
        moments.append(time.monotonic())

    def listener(event: Event) -> None:
        if isinstance(event, NodeRetrying):
            moments.append(time.monotonic())

    at_flush({2: freeze})
    ran = site.run(vm, listener, window=str(WINDOW), stall_timeout="2s")
    whole_run(ran, site, vm, 2000)
    assert f"no byte moved for 2.0 s: the copy waits for the {waits_for} of disk 2000" in retried(ran)[0].error
    assert moments[1] - moments[0] < 2 + 10


def test_the_hubs_sshd_may_be_gone_for_a_while(site: Site, at_flush) -> None:
    """Every session and forward breaks, the VM's lock too, and nothing is let in until it is back."""
    hub = Sshd(site.directory / "store" / "sshd")
    refused = 0

    def listener(event: Event) -> None:
        nonlocal refused
        if isinstance(event, NodeRetrying):
            refused += 1
            if refused == 3:
                hub.start()

    at_flush({2: hub.stop})
    try:
        ran = site.run("outage", listener, window=str(WINDOW), connections="2")
    finally:
        hub.restart()
    whole_run(ran, site, "outage", 2000)
    assert goes_back_at_most(ran, WINDOW)


def test_the_hubs_sshd_may_be_gone_at_the_last_words_of_a_run_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the snapshot is merged, before the run is recorded as finished, and while old records are removed: the point is
    there, so the run is done, says so, and is not made a second time."""
    hub = Sshd(site.directory / "store" / "sshd")
    away: list[str] = []

    def before(place: object, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
        real = getattr(place, name)

        def broken(*args: object) -> object:
            if name not in away and when(*args):
                away.append(name)
                hub.stop()
            return real(*args)

        monkeypatch.setattr(place, name, broken)

    before(snapshots, "consolidate_if_needed")
    before(RunState, "save", lambda _, record: record.phase == "finished")
    before(JobState, "forget_old")
    job = job_on_the_hub(site, "ending", "ending")
    try:
        ran = site.run(job, lambda event: hub.restart() if isinstance(event, NodeRetrying) else None)
    finally:
        hub.restart()
    whole_run(ran, site, "ending", 2000)
    assert away == ["consolidate_if_needed", "save", "forget_old"]
    assert [event.node for event in ran.events if isinstance(event, Warned)] == ["the run's record"]
    assert isinstance(ran.events[-1], RunFinished)
    (run,) = records(site, "ending").runs().known
    assert run.phase == "finished"


def test_a_lock_whose_session_does_not_end_changes_nothing_of_what_was_done(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.hosts.ssh.lock.SCRIPT_TIMEOUT", 0.5)
    events: list[Event] = []
    frozen: list[int] = []
    try:
        with (
            open_workspace(
                job_on_the_hub(site, "ending", "held"), Options(), threading.Event(), [events.append]
            ) as workspace,
            workspace.lock("R"),
        ):
            frozen += Sshd(site.directory / "store" / "sshd").connections()
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert ["is not released" in event.text for event in events if isinstance(event, Warned)] == [True]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets no answer from a host waits for seconds, not for a minute."""
    monkeypatch.setattr("runner.hosts.supervisor.START_TIMEOUT", 2.0)
    monkeypatch.setattr("runner.hosts.ssh.session.SESSION_TIMEOUT", 1.0)
    monkeypatch.setattr("runner.hosts.ssh.link.SESSION_TIMEOUT", 1.0)
    monkeypatch.setattr("runner.hosts.ssh.lock.ANSWER_TIMEOUT", 1.0)
    monkeypatch.setattr(LeashedChild.stop, "__defaults__", (0.5,))


@pytest.mark.usefixtures("impatient")
def test_a_network_that_is_cut_in_the_middle_of_a_copy_heals_though_nobody_hears_of_it(site: Site, at_flush) -> None:
    """No end hears of it: what the hub's sshd had started goes on, and locks the image."""
    frozen: list[int] = []
    left: list[int] = []

    def cut() -> None:
        left.extend(pids(site, "qemu-nbd"))
        frozen.extend(Sshd(site.directory / "store" / "sshd").connections())
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)

    at_flush({2: cut})
    try:
        ran = site.run("cut", window=str(WINDOW), stall_timeout="1s", connections="1")
        assert left and not set(left) & set(pids(site, "qemu-nbd"))
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    whole_run(ran, site, "cut", 2000)
    assert "no byte moved for 1.0 s" in retried(ran)[0].error


def test_a_run_whose_vm_became_anothers_writes_nothing_more(site: Site, at_flush) -> None:
    hub = LocalHost("hub")
    taken: list[Lock] = []

    def lose() -> None:
        (path,) = site.repository.glob("lost-*/.lock")
        session = read_lock(path.read_bytes()).process
        assert session is not None
        os.kill(session.pid, signal.SIGKILL)
        assert eventually(lambda: holder_at(hub, str(path)) is None)
        taken.append(hub.lock(str(path), "another run", "R:1"))
        kill_tunnels(site)

    at_flush({3: lose})
    first = site.run("lost", window=str(WINDOW), connections="1")
    taken[0].release()
    assert first.exit_code == 3
    assert "this run lost its lock on VM 'lost' in repository main to another run (noticed " in first.error
    assert not first.acted() & {"verify[2000]", "verify[2001]", "publish"}
    whole_run(site.run("lost", window=str(WINDOW), connections="1"), site, "lost", 2000, 2001)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """nbdkit makes a read that failed again just once, and soon; an ended session is seen soon too."""
    monkeypatch.setattr(nbdkit_curl, "RETRIES", 1)
    monkeypatch.setattr(nbdkit_curl, "RETRY_DELAY", 1)
    monkeypatch.setattr(nbdkit_curl, "COOKIE_RENEW", 1)
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "keepalive_lent", 0.3)


@pytest.mark.usefixtures("hasty")
def test_a_session_that_ends_before_a_call_of_every_kind_is_begun_anew(site: Site) -> None:
    """Each method of the API that a run calls meets an ended session once, those of the cleanup too, and each HTTP request."""
    before = site.lab.status()["calls"]
    whole_run(site.run("expiring", connections="1"), site, "expiring", 2000)
    asked = {name.split()[0] for name, count in site.lab.status()["calls"].items() if count > before.get(name, 0)}
    assert {"CreateSnapshot_Task", "RemoveSnapshot_Task", "GET", "HEAD"} <= asked
    # These need no session, or end it, or have one of their own: REST's, for tags.
    expiring = asked - {"Login", "Logout", "RetrieveServiceContent", "POST", "DELETE"}
    for method in sorted(expiring):
        site.lab.fault("session-expire", parameters={"method": method})
    logins = site.lab.status()["calls"]["Login"]
    whole_run(site.run("expiring", connections="1"), site, "expiring", 2000)
    assert site.lab.status()["armed"] == {}
    assert site.lab.status()["calls"]["Login"] > logins + 1


@pytest.mark.usefixtures("hasty")
def test_a_session_that_ends_as_each_node_begins_is_begun_anew(site: Site) -> None:
    begun: set[str] = set()

    def listener(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node not in begun:
            begun.add(event.node)
            if not site.lab.status()["armed"]:  # two in a row are no ended session, but a vCenter that lets nobody in
                site.lab.fault("session-expire")

    whole_run(site.run("expiring", listener, connections="1"), site, "expiring", 2000)
    assert {"snapshot", "transfer[2000]", "publish", "cleanup"} <= begun


@pytest.mark.usefixtures("hasty")
def test_an_account_that_is_revoked_in_the_middle_is_permanent_at_once(site: Site, at_flush) -> None:
    password = Path(site.lab.record.vcenter.password_file)
    right = password.read_bytes()

    def revoke() -> None:
        password.write_bytes(b"another one\n")
        site.lab.fault("session-expire", parameters={"method": "GET"})

    at_flush({2: revoke})
    try:
        first = site.run("revoked", window=str(WINDOW), connections="1")
    finally:
        password.write_bytes(right)
    assert first.exit_code == 1
    assert "wrong user name or password" in first.failures()["transfer[2000]"]
    assert "at offset" in first.failures()["transfer[2000]"]
    assert retried(first) == []
    again = site.run("revoked", window=str(WINDOW), connections="1")
    assert again.acted() == {"transfer[2000]", "verify[2000]", "publish", "cleanup"}
    whole_run(again, site, "revoked", 2000)


def test_32_disks_at_once_pass_a_server_that_takes_few_logins_at_a_time(site: Site) -> None:
    hub = Sshd(site.directory / "store" / "sshd", {"MaxStartups": "5:100:6"})
    hub.restart()
    each = {"disk": "${{ discover.disks }}"}
    steps = [
        {"id": "discover", "uses": "discover", "with": {"vcenter": "lab", "vm": "many"}},
        {"id": "snapshot", "uses": "snapshot", "with": {"vm": "${{ discover.vm }}"}},
        {"id": "image", "uses": "create-qcow2", "each": each, "with": {
            "vm": "${{ discover.vm }}", "disk": "${{ disk }}", "repository": "main"}},
        {"id": "export", "uses": "start-nbd", "each": each, "with": {"image": "${{ image }}", "connections": 1}},
        {"id": "tunnel", "uses": "open-tunnel", "each": each, "with": {"export": "${{ export }}", "connections": 1}},
        {"id": "source", "uses": "open-source", "each": each, "with": {
            "snapshot": "${{ snapshot }}", "disk": "${{ disk }}", "transport": "https", "connections": 1}},
        {"id": "transfer", "uses": "transfer", "each": each, "with": {"source": "${{ source }}", "target": "${{ tunnel }}"}},
    ]  # fmt: skip
    try:
        ran = site.run(site.write_job("many", steps), parallel=32)
    finally:
        hub.stop()
        Sshd(site.directory / "store" / "sshd").start()
    assert ran.exit_code == 0, ran.error
    images = [ran.output(f"image[{disk['key']}]") for disk in ran.output("discover")["disks"]]
    assert len(images) == 32
    for image in images:
        assert same(site.source("many", image["disk"]["key"]), Path(image["path"]))
    shutil.rmtree(images[0]["directory"])  # this job does not publish
