"""Killing a run: one table of moments × what is killed, and one loop that goes on until the run is done.

A new step is covered by adding its node to `INTENTS`: each node is killed when its intent record is there, and when its
result is. What must hold afterwards is the same for every row, see `test_kill_anywhere`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.journal import read_events
from tests.e2e.site import Site, processes
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
NODES = ("discover", "snapshot", "image[i2000]", "transfer[i2000]", "verify[i2000]", "publish", "cleanup")
PROCESSES = ("reserve", "export[2000]", "tunnel[2000]", "source[2000]", "readback[2000]", "view[2000]")


@dataclass(frozen=True)
class Kill:
    """`when`: intent or done of a node's record, open of a process, or copied: so many bytes of a disk are recorded as
    safe. `what`: the runner, its whole process group, or a program by name among the run's own."""

    when: str
    at: str
    what: str = "runner"

    def __str__(self) -> str:
        return f"{self.what}-at-{self.when}-{self.at}"


EVERY = (
    *(Kill(when, node) for node in NODES for when in ("intent", "done")),
    *(Kill("open", node) for node in PROCESSES),
    *(Kill("copied", str(share), what) for what in ("runner", "group") for share in (10, 40, 70)),
)
"""Kills of the run itself: the same command is run again."""

CUTS = tuple(Kill("copied", "30", what) for what in ("nbdkit", "ssh", "qemu-nbd", "sshd"))
"""Kills of what the run stands on: it heals by itself."""

IN_TEST = (EVERY[2], EVERY[9], EVERY[21], CUTS[1])
"""The kinds of moments, one each; `make torture` has all of them."""


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    """The kinds of moments; with TORTURE=<number> all moments and that many more at random of SEED (default 1)."""
    if "TORTURE" not in environment:
        return IN_TEST
    chance = random.Random(int(environment.get("SEED", "1")))
    whats = ("runner", "group", "nbdkit", "ssh", "qemu-nbd")
    more = (
        Kill("copied", str(chance.randrange(1, 90)), chance.choice(whats)) for _ in range(int(environment["TORTURE"]))
    )
    return (*EVERY, *CUTS, *more)


class Victim:
    """A run in a process group of its own."""

    def __init__(self, site: Site, job: Path) -> None:
        self.site = site
        self.events = site.state / f"events-{time.monotonic_ns()}.jsonl"
        self.events.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner.cli", "run", str(job), "--events", str(self.events)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )

    def told(self) -> list[dict]:
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        return [json.loads(line) for line in lines[:-1]] + (
            [json.loads(lines[-1])] if lines and _whole(lines[-1]) else []
        )

    def reached(self, kill: Kill, state: Path) -> bool:
        if kill.when in ("intent", "done"):
            return any(
                _state_of(path) in (kill.when, "done") for path in state.glob(f"*/*/nodes/{_glob(kill.at)}.json")
            )
        if kill.when == "open":
            return any(event["type"] == "node-finished" and event["node"] == kill.at for event in self.told())
        return any(path.stat().st_size > int(kill.at) * 44 for path in state.glob("*/*/ledger/disk-*"))

    def kill(self, kill: Kill) -> None:
        if kill.what == "runner":
            self.process.kill()
        elif kill.what == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            for pid in _of_this_lab(self.site, kill.what):
                os.kill(pid, signal.SIGKILL)

    def ended(self) -> int:
        assert self.process.stderr is not None
        self.said = self.process.stderr.read().decode()
        code = self.process.wait(60)
        if self.events.exists():
            self.site.events += read_events(self.events)  # what it opened must be gone
        return code


def until_done(site: Site, job: Path, kill: Kill) -> int:
    """One run that is killed at `kill`, then the same command until it succeeds; returns how many runs that took."""
    state = site.directory / "state"
    victim = Victim(site, job)
    hit = eventually(lambda: victim.reached(kill, state) or victim.process.poll() is not None, 60)
    assert hit, f"{kill}: never reached"
    if victim.process.poll() is None:
        victim.kill(kill)
    code = victim.ended()
    for attempt in range(1, 6):
        if code == 0:
            return attempt
        victim = Victim(site, job)
        code = victim.ended()
    raise AssertionError(f"{kill}: not done after five runs: {victim.said}")


def _of_this_lab(site: Site, program: str) -> list[int]:
    marks = (str(site.directory), f":{site.lab.record.vcenter.port}/", f"{site.lab.record.hub.port}")
    return [
        pid for pid, argv in processes() if Path(argv[0]).name == program and any(m in " ".join(argv) for m in marks)
    ]


def _glob(name: str) -> str:
    return name.replace("[", "[[]")


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _state_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["state"])
    except (FileNotFoundError, ValueError):
        return ""
