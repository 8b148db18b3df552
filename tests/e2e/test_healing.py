"""What breaks under a run and comes back, or does not: it heals inside the run, or stops the one disk with one sentence."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runner.events import NodeProgress, NodeRetrying
from runner.units import MiB
from steps.disk_ledger import DiskLedger
from steps.lab.sshd import Sshd
from tests.e2e.site import Ran, Site, disk, inventory, processes, same

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "4 MiB", 0, 1), disk(2001, "6 MiB", 1, 2), disk(2002, "2 MiB", 2, 3)]},
    {"name": "big", "disks": [disk(2000, "40 MiB", 0, 4)]},
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
    monkeypatch.setattr("runner.patience.FIRST_WAIT", 0.2)


def retried(ran: Ran) -> list[NodeRetrying]:
    return [event for event in ran.events if isinstance(event, NodeRetrying)]


def whole_run(ran: Ran, site: Site, vm: str, *keys: int) -> None:
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    assert site.images_equal_sources(vm, point, keys)
    assert site.snapshots() == []


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
        if argv[:2] == ["ssh", "-F"] and f"Port {site.lab.record.hub.port}\n" in content(argv[2]):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed


def content(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def kill(site: Site, program: str) -> None:
    found = pids(site, program)
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def test_what_is_killed_in_the_middle_of_a_copy_is_opened_again_and_the_copy_goes_on(site: Site, at_flush) -> None:
    at_flush(dict.fromkeys((2, 4, 6, 8, 10), lambda: kill_tunnels(site)))
    at_flush({12: lambda: kill(site, "qemu-nbd"), 14: lambda: kill(site, "nbdkit")})
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


def test_32_disks_at_once_pass_a_server_that_takes_few_logins_at_a_time(site: Site) -> None:
    hub = Sshd(site.directory / "hub" / "sshd", {"MaxStartups": "5:100:6"})
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
        Sshd(site.directory / "hub" / "sshd").start()
    assert ran.exit_code == 0, ran.error
    images = [ran.output(f"image[{disk['key']}]") for disk in ran.output("discover")["disks"]]
    assert len(images) == 32
    for image in images:
        assert same(site.source("many", image["disk"]["key"]), Path(image["path"]))
    shutil.rmtree(images[0]["directory"])  # this job does not publish
