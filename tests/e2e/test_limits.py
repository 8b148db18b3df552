"""Limits that real runs share, watched on the simulator's side: how many disks are read and how many VMs have a snapshot
at each moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from runner.events.events import Event, NodeFailed, Warned
from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.folder import Datastores
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.sessions import Sessions
from tests.estate import Estate, disk, estate, inventory, machine
from tests.eventually import eventually

VMS = ("ash", "beech", "cedar", "fir")


class Watch:
    """When each disk was read from, and the most VMs that had a snapshot at any of these moments."""

    def __init__(self) -> None:
        self.reads: list[tuple[float, str]] = []
        self.snapshots = 0
        self.retained: set[str] = set()
        """VMs whose snapshot a killed run left, which `held-snapshots` is about."""

        self.together: threading.Barrier | None = None
        """At which the first reads of disks wait for each other."""

    def read(self, target: str, machines: list[Machine]) -> None:
        name = Path(urlsplit(target).path).name
        if name.endswith("-flat.vmdk"):
            if self.together is not None and name not in {other for _, other in self.reads}:
                self.together.wait(60)
            self.reads.append((time.monotonic(), name))
        works = [one for one in machines if one.snapshots and one.name not in self.retained]
        self.snapshots = max(self.snapshots, len(works))

    def most_open(self) -> int:
        """Disks that were read at once: from the first to the last read of each without a pause of two seconds."""
        edges: list[tuple[float, int]] = []
        for name in {name for _, name in self.reads}:
            moments = sorted(moment for moment, other in self.reads if other == name)
            begin = moments[0]
            for before, after in zip(moments, [*moments[1:], float("inf")], strict=True):
                if after - before > 2:
                    edges += [(begin, 1), (before, -1)]
                    begin = after
        most = now = 0
        for _, change in sorted(edges):
            now += change
            most = max(most, now)
        return most


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    seen, read = Watch(), Datastores.read

    def watched(self: Datastores, target: str, *, as_host: bool) -> Any:
        seen.read(target, list(self._world.all(Machine)))
        return read(self, target, as_host=as_host)

    monkeypatch.setattr(Datastores, "read", watched)
    return seen


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    machines = [machine(disk(2000, "4 MiB"), name=name) for name in VMS]
    machines.append(machine(*(disk(2000 + unit, "4 MiB", unit) for unit in range(3)), name="big"))
    with estate(tmp_path, {"prod": inventory(*machines)}) as made:
        yield made


def limit(site: Estate, **limits: int) -> None:
    path = site.directory / "site.yaml"
    document = yaml.safe_load(path.read_text())
    document["vcenters"]["prod"]["limits"] = {name.replace("_", "-"): most for name, most in limits.items()}
    document["slots"] = {"in": "repositories.main"}
    path.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize(("most", "open_at_once"), [(None, 3), (1, 1), (2, 2)])
def test_disks_of_a_vm_with_more_than_a_limit_take_turns(
    most: int | None, open_at_once: int, site: Estate, watch: Watch
) -> None:
    if most is None:
        watch.together = threading.Barrier(open_at_once)
    else:
        limit(site, disks=most)
    assert site.run(site.job(vm="big")).exit_code == 0
    assert watch.most_open() == open_at_once


def test_a_limit_without_a_place_to_share_it_is_a_mistake_with_its_place(site: Estate) -> None:
    limit(site, disks=1)
    path = site.directory / "site.yaml"
    document = yaml.safe_load(path.read_text())
    del document["slots"]
    path.write_text(yaml.safe_dump(document))
    done = sendense(site, "validate", str(site.job(vm="big")))
    assert done.wait(60) == 2
    assert done.stderr is not None
    assert "site.yaml:" in (said := done.stderr.read()) and "slots: {in: repositories" in said


def sendense(site: Estate, *words: str) -> subprocess.Popen[str]:
    """What a killed runner claimed counts for five seconds here, in which its children close their disks."""
    code = (
        "from runner.sets.slots import Slots; Slots.__init__.__kwdefaults__['ending'] = 5\n"
        "from runner.cli import main; main()"
    )
    argv = [sys.executable, "-c", code, *words]
    if words[0] == "run":
        argv += [f"--state={site.directory / 'state'}"]
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def write_set(site: Estate, name: str, *vms: str) -> str:
    values = {"repository": "main", "transport": "https"}
    select = {"from": "vcenters.prod", "any": [{"name": vm} for vm in vms]}
    document = {
        "version": 1,
        "include": "site.yaml",
        "template": "backup",
        "name": name,
        "select": select,
        "vars": values,
    }
    path = site.directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return str(path)


def points(site: Estate) -> dict[str, int]:
    """Of each VM."""
    found = dict.fromkeys((*VMS, "big"), 0)
    for path in site.repository().glob("*/*/manifest.json"):
        found[json.loads(path.read_text())["vm"]["name"]] += 1
    return found


def test_a_run_by_itself_waits_for_one_beside_it_and_says_so(
    site: Estate, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(site, disks=1)
    waits, read = threading.Event(), Datastores.read

    def held(self: Datastores, target: str, *, as_host: bool) -> Any:
        if "ash" in target and "-flat.vmdk" in target:
            assert waits.wait(60)
        return read(self, target, as_host=as_host)

    def heard(event: Event) -> None:
        if isinstance(event, Warned) and "waits for its turn" in event.text:
            waits.set()

    monkeypatch.setattr(Datastores, "read", held)
    first = sendense(site, "run", str(site.job("first", vm="ash")))
    assert eventually(lambda: list(site.repository().glob(".state/.slots/*.json")), 60)
    ran = site.run(site.job("second", vm="big"), heard)
    said, _ = first.communicate(timeout=60)
    assert (first.returncode, ran.exit_code) == (0, 0), said
    assert watch.most_open() == 1
    told = [event.text for event in ran.events if isinstance(event, Warned)]
    assert any(
        "big waits for its turn: all 1 disks read in vCenter prod at once (1 in use)" in text for text in told
    ), told


def test_a_run_ends_and_releases_its_snapshot_before_its_datastore_is_full(
    site: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, read, full = threading.Event(), Datastores.read, threading.Event()

    def slow(self: Datastores, target: str, *, as_host: bool) -> Any:
        if any(one.snapshots for one in self._world.all(Machine)):
            full.set()
            assert told.wait(60)
        return read(self, target, as_host=as_host)

    def heard(event: Event) -> None:
        if isinstance(event, NodeFailed):
            told.set()

    monkeypatch.setattr("runner.engine.watch.EVERY", 0.1)
    monkeypatch.setattr(Datastores, "read", slow)
    free = property(lambda store: store.spec.capacity // 50 if full.is_set() else store.spec.capacity)
    monkeypatch.setattr(Datastore, "free", free)
    ran = site.run(site.job(vm="ash"), heard)
    assert ran.exit_code == 1
    assert "datastore ds1 has 2.0 % free, stop-below is 3 %" in ran.failures()["snapshot"]
    assert not any(one.snapshots for one in site.vcenter._world.all(Machine))
    monkeypatch.undo()
    assert site.run(site.job(vm="ash")).exit_code == 0


def test_with_a_revoked_account_two_logins_are_tried_and_it_is_told_once(
    site: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set has chosen by then: a vCenter locks the account after five, for everybody."""
    path, tried = write_set(site, "all", *VMS, "big"), []
    admits = Sessions.admits

    def revoked(self: Sessions, username: str, password: str) -> bool:
        tried.append(admits(self, username, password))
        return len(tried) == 1

    monkeypatch.setattr(Sessions, "admits", revoked)
    done = sendense(site, "run", path)
    _, said = done.communicate(timeout=120)
    assert done.returncode == 1
    assert tried[1:] == [True, True]
    assert said.count("5 VMs") >= 1 and "login vcenter prod" in said, said


@pytest.mark.slow
def test_two_runners_one_killed_never_pass_a_limit_and_drop_nobody(site: Estate, watch: Watch) -> None:
    limit(site, disks=2, snapshots_per_datastore=2)
    left, right = write_set(site, "left", "ash", "beech", "big"), write_set(site, "right", "cedar", "fir")
    killed, other = sendense(site, "run", left), sendense(site, "run", right)
    assert eventually(lambda: any("ash" in name or "beech" in name or "big" in name for _, name in watch.reads), 90)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    watch.retained = {"ash", "beech", "big"}
    again = sendense(site, "run", left)
    _, said = again.communicate(timeout=120)
    _, beside = other.communicate(timeout=120)
    assert (again.returncode, other.returncode) == (0, 0), f"{said}\n{beside}"
    assert watch.most_open() <= 2
    assert watch.snapshots <= 2
    assert all(count == 1 for count in points(site).values()), points(site)
    assert not list(site.repository().glob(".state/.slots/*.json"))
