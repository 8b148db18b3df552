"""A night of a fleet at which processes are killed and frozen, and a service manager that starts again what ended."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.eventually import eventually
from tests.fleet.cluster import Cluster

KINDS = ("kill worker", "freeze worker", "kill scheduler", "kill controller", "freeze controller")


class Night:
    """`workers`: the node host of each. `controller` starts it, as the process `controller` of the cluster. `locks`:
    files of which a child at work holds one."""

    def __init__(
        self,
        cluster: Cluster,
        chance: random.Random,
        workers: Mapping[str, str],
        controller: Callable[[], None],
        locks: Callable[[], Iterable[Path]],
        within: float,
    ) -> None:
        self.cluster = cluster
        self.chance = chance
        self.workers = workers
        self._controller = controller
        self._locks = locks
        self.drawn = sorted(
            (chance.uniform(0.2, within), chance.choice(KINDS), chance.choice(list(workers)))
            for _ in range(chance.randint(2, 4))
        )
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._frozen: set[str] = set()
        self.most = 0
        """Children that were at work at one moment, at most."""
        self._told: list[str] = []

    def run(self, timeout: float) -> None:
        """To the end of the controller."""
        self.cluster.scheduler()
        for name, host in self.workers.items():
            self.cluster.worker(name, host=host, wait=False)
        self._controller()
        assert eventually(self.cluster.children, 60), self.story()
        began = time.monotonic()
        self._due = [(began + at, self._action(kind, worker)) for at, kind, worker in self.drawn]
        assert eventually(self._is_over, timeout), self.story()
        for name in self._frozen:
            self.cluster.send(name, signal.SIGCONT)
        assert eventually(lambda: not self.cluster.children(), 30), self.story()

    def story(self) -> str:
        names = ("controller", "scheduler", *self.workers)
        return "\n".join([f"{self.drawn} {self._told}", *(f"{name}: {self.cluster.said(name)}" for name in names)])

    def _action(self, kind: str, worker: str) -> Callable[[], None]:
        verb, _, what = kind.partition(" ")
        name = worker if what == "worker" else what

        def act() -> None:
            self._told.append(f"{verb} {name}")
            if name in self._frozen:
                return
            if verb == "kill":
                self.cluster.send(name, signal.SIGKILL)
                return
            self.cluster.send(name, signal.SIGSTOP)
            self._frozen.add(name)
            self._due.append((time.monotonic() + self.chance.uniform(1, 7), thaw))

        def thaw() -> None:
            self._frozen.discard(name)
            self.cluster.send(name, signal.SIGCONT)

        return act

    def _is_over(self) -> bool:
        now = time.monotonic()
        for at, act in [each for each in self._due if each[0] <= now]:
            self._due.remove((at, act))
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
                self._told.append(f"controller ended with {code}")
                self._controller()
            elif name == "scheduler":
                self.cluster.scheduler(wait=False)
            else:
                self.cluster.worker(name, host=self.workers[name], wait=False)
        return False

    def _at_work(self) -> int:
        """As the kernel knows."""
        files = set()
        for path in self._locks():
            with suppress(FileNotFoundError):
                found = path.stat()
                files.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
        return len(files & {line.split()[5] for line in locks_held()})


def locks_held() -> list[str]:
    """Lines of /proc/locks, but of processes that wait."""
    return [line for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
