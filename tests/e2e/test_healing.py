"""What breaks under a run and comes back, or does not: it heals inside the run, or stops the one disk with one sentence."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runner.events import NodeProgress, NodeRetrying
from runner.units import MiB
from steps.disk_ledger import DiskLedger
from steps.vsphere.client import Client
from steps.vsphere.sources import https
from tests.e2e.site import Ran, Site, disk, inventory, processes

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "4 MiB", 0, 1), disk(2001, "6 MiB", 1, 2), disk(2002, "2 MiB", 2, 3)]},
    {"name": "big", "disks": [disk(2000, "40 MiB", 0, 4)]},
)
WINDOW = 4 * MiB


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits are short, so that the tests are."""
    monkeypatch.setattr("runner.patience.FIRST_WAIT", 0.2)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """nbdkit makes a read that failed again just once, and soon; what it cannot mend shows."""
    monkeypatch.setattr(https, "RETRIES", 1)
    monkeypatch.setattr(https, "RETRY_DELAY", 1)
    monkeypatch.setattr(https, "COOKIE_RENEW", 1)
    monkeypatch.setattr(Client.__init__, "__kwdefaults__", {"keepalive": 300.0, "keepalive_lent": 0.3})


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


def pids(site: Site, program: str, mark: str = "") -> list[int]:
    """Of the runs of this lab."""
    marks = (str(site.directory), f":{site.lab.record.vcenter.port}/", "sd-")
    return [
        pid
        for pid, argv in processes()
        if Path(argv[0]).name == program and any(m in " ".join(argv) for m in marks) and mark in " ".join(argv)
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
