"""A cluster's processes are killed and frozen at moments drawn by a seed; every child makes its point once."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.disks import SEED
from tests.fleet.cluster import Cluster

ROUNDS = 30 if "TORTURE" in os.environ else 3

ITEMS = {"vm0": "north", "vm1": "north", "vm2": "south", "vm3": "south", "vm4": "", "vm5": ""}
"""Item → the node host that reads its disks."""

WORKERS = {"a": "north", "b": "south", "c": "south"}
AT_ONCE = 4
SLICES = 25


class Round:
    """One night: what is done to it, and a service manager that starts again what ended."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.cluster = cluster
        self.chance = chance
        self.items = {name: cluster.item(name, slices=SLICES, host=host) for name, host in ITEMS.items()}
        self.actions = self._drawn()
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.frozen: set[str] = set()
        self.most = 0
        self.told: list[str] = []

    def _drawn(self) -> list[tuple[float, str, str]]:
        kinds = ["kill worker", "freeze worker", "kill scheduler", "kill controller", "freeze controller"]
        count = self.chance.randint(2, 4)
        return sorted(
            (self.chance.uniform(0.2, 5), self.chance.choice(kinds), self.chance.choice(list(WORKERS)))
            for _ in range(count)
        )

    def run(self) -> None:
        """To the end of the controller."""
        self.cluster.scheduler()
        for name, host in WORKERS.items():
            self.cluster.worker(name, host=host, wait=False)
        self.cluster.controller(AT_ONCE)
        assert eventually(lambda: self.cluster.children(), 30), self.cluster.said("controller")
        began = time.monotonic()
        self.due = [(began + at, self._action(kind, worker)) for at, kind, worker in self.actions]
        assert eventually(self._is_over, 100), self._story()

    def _action(self, kind: str, worker: str) -> Callable[[], None]:
        verb, _, what = kind.partition(" ")
        name = worker if what == "worker" else what

        def act() -> None:
            self.told.append(f"{verb} {name}")
            if name in self.frozen:
                return
            if verb == "kill":
                self.cluster.send(name, signal.SIGKILL)
                return
            self.cluster.send(name, signal.SIGSTOP)
            self.frozen.add(name)
            self.due.append((time.monotonic() + self.chance.uniform(1, 7), thaw))

        def thaw() -> None:
            self.frozen.discard(name)
            self.cluster.send(name, signal.SIGCONT)

        return act

    def _is_over(self) -> bool:
        now = time.monotonic()
        for at, act in [each for each in self.due if each[0] <= now]:
            self.due.remove((at, act))
            act()
        self.most = max(self.most, self._at_work())
        return self._keep()

    def _keep(self) -> bool:
        """Starts again what ended, as systemd does; whether the controller ended well."""
        for name, process in list(self.cluster.processes.items()):
            if (code := process.poll()) is None:
                continue
            if name == "controller":
                if code == 0:
                    return True
                self.told.append(f"controller ended with {code}")
                self.cluster.controller(AT_ONCE)
            elif name == "scheduler":
                self.cluster.sendense(
                    "scheduler", "scheduler", f"--listen={self.cluster.address}", *self.cluster.identity.options
                )
            else:
                self.cluster.worker(name, host=WORKERS[name], wait=False)
        return False

    def _at_work(self) -> int:
        """How many items are worked on now, as the kernel knows."""
        files = set()
        for root in self.items.values():
            with suppress(FileNotFoundError):
                files.add((root / "alone").stat().st_ino)
        locked = {int(line.split()[5].split(":")[-1]) for line in Path("/proc/locks").read_text().splitlines()}
        return len(files & locked)

    def thaw(self) -> None:
        for name in self.frozen:
            self.cluster.send(name, signal.SIGCONT)

    def story(self) -> str:
        names = ("controller", "scheduler", *WORKERS)
        return "\n".join([f"{self.actions} {self.told}", *(f"{name}: {self.cluster.said(name)}" for name in names)])

    _story = story


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_child_makes_its_point_once_whatever_is_killed(cluster: Cluster, number: int) -> None:
    night = Round(cluster, random.Random(f"{SEED} {number}"))
    night.run()
    night.thaw()
    ended = {each["key"]: each["exit_code"] for each in cluster.ended()}
    assert ended == dict.fromkeys((f"toys@{name}" for name in ITEMS), 0), night.story()
    for name, root in night.items.items():
        assert len(list(root.glob("point-*"))) == 1, f"{name}\n{night.story()}"
        assert (root / "done").stat().st_size == SLICES
        assert not list(root.glob("moment-*")), f"{name} holds a snapshot\n{night.story()}"
    assert night.most <= AT_ONCE, night.story()
    assert eventually(lambda: not cluster.children()), night.story()
    assert phases(cluster) == {"finished"}


def phases(cluster: Cluster) -> set[str]:
    """Those of all runs."""
    return {json.loads(record.read_text())["phase"] for record in cluster.directory.glob("state/**/run.json")}
