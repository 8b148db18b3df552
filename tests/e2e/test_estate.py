"""A set of twelve VMs really runs: at once, through failures and kills, over two nights between which the estate changes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from steps.lab.lab import seeded
from tests.e2e.site import Site, disk, inventory, same
from tests.eventually import eventually

SEED = int(os.environ.get("SEED", "12"))
TAG = "backup/gold"
VMS = [f"vm{number:02}" for number in range(1, 14)]
LATER = VMS[-1]
"""It gets its tag between the two nights."""


def uuid(vm: str) -> str:
    return f"5013e3a5-0000-4000-8000-0000000000{vm[-2:]}"


def machine(vm: str) -> dict[str, Any]:
    number = int(vm[-2:])
    disks = [
        disk(2000, "1 MiB", 0, 2 * number),
        *([disk(2001, "1 MiB + 512 B", 1, 2 * number + 1)] if number == 4 else []),
    ]
    return {
        "name": vm,
        "folder": f"team{number % 3}",
        "instance-uuid": uuid(vm),
        "disks": disks,
        "tags": [] if vm == LATER else [TAG],
    }


INVENTORY = inventory(*map(machine, VMS))

BETWEEN = ("image[2000]", "transfer[2000]", "verify[2000]", "publish")
"""What a child that has its snapshot may be about to do when it is killed."""


@dataclass
class Nights:
    """`references`: copies of each VM's disks as they were before a night, by point."""

    site: Site
    directory: Path
    at: dict[str, dict[int, Path]] = field(default_factory=dict)
    """Of each VM as it was before the night that runs."""
    expected: dict[Path, dict[int, Path]] = field(default_factory=dict)
    sockets: set[Path] = field(default_factory=set)
    at_once: int = 0
    """Children of the last command that were at work at one moment, at most."""

    @property
    def job(self) -> Path:
        path = self.site.directory / "gold.yaml"
        document = {
            "version": 1,
            "include": "site.yaml",
            "template": "backup",
            "name": "gold",
            "select": {"from": "vcenters.lab", "any": [{"tag": TAG}], "at-least": 12},
            "vars": {"repository": "main", "transport": "https", "cbt": "enable"},
        }
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def begins(self, vms: Mapping[str, str], night: int) -> None:
        """`vms`: uuid by name. What their guests have is what points of this night must have."""
        for vm, instance in vms.items():
            copies = self.at.setdefault(instance, {})
            for one in self.site.lab.record.vm(vm).disks:
                copies[one.key] = self.directory / f"{night}-{vm}-{one.key}"
                shutil.copyfile(one.file, copies[one.key])

    def run(
        self, *arguments: str, heard: Callable[[dict[str, Any]], None] = lambda event: None
    ) -> tuple[int, dict[str, Any]]:
        """The exit code, and what it says in JSON; `heard` is told each child's event while it runs."""
        events = self.directory / "events"
        events.write_bytes(b"")
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        argv = [
            sys.executable,
            "-P",
            "-m",
            "runner.cli",
            "run",
            str(self.job),
            "--parallel=4",
            "--json",
            f"--events={events}",
        ]
        argv += [f"--state={self.site.state}", *arguments]
        # Whatever a run starts has its TMPDIR, by which it is found afterwards.
        with (self.directory / "said").open("ab") as said, (self.directory / "told").open("w+b") as told:
            running = subprocess.Popen(
                argv, stdout=told, stderr=said, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(temporary)}
            )
            self.at_once = 0
            for event in follow(events, running):
                self.at_once = max(self.at_once, len(children_of(running.pid)))
                self.sockets |= sockets_of(event)
                heard(event)
            told.seek(0)
            document = json.load(told)
        for point in self.site.points():
            # A point is of the night in which its snapshot was taken, though a later command finished it.
            self.expected.setdefault(point, dict(self.at[point.parent.name[-36:]]))
        return running.returncode, document

    def said(self) -> str:
        return (self.directory / "said").read_text()

    def assert_all_equal(self) -> None:
        for point, copies in self.expected.items():
            for key, copy in copies.items():
                assert same(copy, point / f"disk-{key}.qcow2"), f"disk {key} of {point}"

    def assert_nothing_left(self) -> None:
        assert self.site.snapshots() == []
        assert self.site.partials() == []
        assert eventually(lambda: not [path for path in self.sockets if path.exists()])
        mine = f"TMPDIR={self.directory / 'tmp'}".encode()
        assert eventually(lambda: not list(started_with(mine))), list(started_with(mine))


def follow(file: Path, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Lines as they are written, until the process has ended."""
    with file.open() as lines:
        buffered = ""
        while True:
            ended = process.poll() is not None
            buffered += lines.read()
            *whole, buffered = buffered.split("\n")
            yield from map(json.loads, whole)
            if ended:
                return
            assert eventually(lambda: process.poll() is not None or file.stat().st_size > lines.tell(), 300)


def sockets_of(event: dict[str, Any]) -> set[Path]:
    output = event.get("output") if event["type"] == "node-finished" else None
    uris = [output.get("socket"), *(uri.partition("socket=")[2] for uri in output.get("uris", ()))] if output else []
    return {Path(one).parent for one in uris if one}


def children_of(pid: int) -> list[str]:
    """The jobs that it runs, each in a process of its own."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended
            found += [child for child in task.read_text().split() if is_child(int(child))]
    return found


def is_child(pid: int) -> bool:
    try:
        return b"runner.cli.child" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it ended
        return False


def started_with(mark: bytes) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                yield path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended, or is another user's
            continue


@dataclass
class Killer:
    """Kills the children for these VMs when they are about to begin a node."""

    repository: Path
    moments: dict[str, str]
    """Node by the VM's uuid."""
    killed: set[str] = field(default_factory=set)

    def __call__(self, event: dict[str, Any]) -> None:
        instance = event["child"].partition("@")[2]
        if (
            event["type"] == "node-started"
            and self.moments.get(instance) == event["node"]
            and instance not in self.killed
        ):
            (lock,) = self.repository.glob(f"*-{instance}/.lock")
            found = re.search(r"pid\D+(\d+)", lock.read_text())
            assert found is not None, lock.read_text()
            assert is_child(int(found[1]))
            os.kill(int(found[1]), signal.SIGKILL)
            self.killed.add(instance)


@pytest.fixture
def nights(site: Site, tmp_path: Path) -> Nights:
    return Nights(site, tmp_path)


def kinds(site: Site) -> dict[str, list[str]]:
    """Of each VM's points, oldest first, by uuid."""
    found: dict[str, list[str]] = {}
    for point in site.points():
        disks = json.loads((point / "manifest.json").read_bytes())["disks"]
        kind = "full" if all(one["parent"] is None for one in disks) else "incremental"
        found.setdefault(point.parent.name[-36:], []).append(kind)
    return found


def test_two_nights_of_a_set_of_twelve(nights: Nights) -> None:
    site, lab = nights.site, nights.site.lab
    drawn = random.Random(SEED)
    renamed, vanished, *others = VMS[:-1]
    failing, *killed = drawn.sample(others, 3)
    moments = {uuid(vm): drawn.choice(BETWEEN) for vm in killed}
    print(f"SEED={SEED}: {failing} fails, killed are {moments}")
    gold = {vm: uuid(vm) for vm in VMS[:-1]}

    # One fails, two are killed; the others have no part in it.
    nights.begins(gold, 1)
    unexpected = site.repository / f"{failing}-{uuid(failing)}"
    unexpected.touch()  # where the directory of its points is to be
    killer = Killer(site.repository, moments)
    code, told = nights.run(heard=killer)
    assert (code, killer.killed) == (4, set(moments)), nights.said()
    assert Counter(run["exit_code"] for run in told["runs"]) == {0: 9, 1: 3}
    assert nights.at_once in range(2, 5)
    assert set(moments) | {uuid(failing)} >= set(gold.values()) - kinds(site).keys()
    assert len(site.snapshots()) <= 2

    # The killed ones resume from the snapshots that they had, whatever guests wrote meanwhile; the other one had none.
    unexpected.unlink()
    for number, vm in enumerate(gold):
        lab.write(vm, 2000, 65536 * (number % 8), seeded(number, 4096))
    nights.begins({failing: uuid(failing)}, 1)
    code, told = nights.run(*(f"--only={vm}" for vm in (failing, *killed)))
    assert (code, len(told["runs"])) == (0, 3), nights.said()
    assert kinds(site) == {instance: ["full"] for instance in gold.values()}
    nights.assert_all_equal()
    nights.assert_nothing_left()

    # The next night one has another name, one is gone and one is new.
    lab.change(renamed, name="called otherwise")
    lab.change(vanished, gone=True)
    lab.change(LATER, tag=TAG)
    second = {"called otherwise": uuid(renamed), LATER: uuid(LATER)}
    second |= {vm: instance for vm, instance in gold.items() if vm not in (renamed, vanished)}
    nights.begins(second, 2)
    code, told = nights.run()
    assert (code, len(told["runs"])) == (0, 12), nights.said()
    again = {instance: ["full", "incremental"] for instance in second.values()}
    assert kinds(site) == {**again, uuid(vanished): ["full"], uuid(LATER): ["full"]}
    assert re.search(rf"{vanished}: ", nights.said()), nights.said()
    nights.assert_all_equal()
    nights.assert_nothing_left()
    # What was renamed continues its chain, in the directory that it had.
    assert len(list(site.repository.glob(f"*-{uuid(renamed)}"))) == 1
