"""Runs in processes of their own, to be killed, and what of this machine is theirs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runner.events.events import Event
from runner.events.journal import read_events
from tests.e2e.site import Site, processes

ROOT = Path(__file__).parents[2]
DEADLINE = 240.0
"""Seconds for a run to come to a moment or to its end, on a machine that does much else."""


class Zygote:
    """Makes the runs, one at a time."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.zygote"], stdin=theirs, cwd=ROOT)
        self._control.settimeout(DEADLINE)
        self._answers = self._control.makefile()
        self._victim: Victim | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._answers.close()
        self._control.close()
        self._process.wait(DEADLINE)

    def start(self, directory: Path, argv: list[str], moment: str = "") -> Victim:
        """`directory` gets what it says, its events if it runs a job, and the names of its temporary directories."""
        directory.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in directory.glob("*.said"))
        events = directory / f"{number}.events"
        gate, theirs = socket.socketpair()
        request = json.dumps(
            {"argv": [*argv, *(["--events", str(events)] if argv[0] == "run" else [])], "moment": moment}
        )
        with theirs, (directory / f"{number}.said").open("wb") as said, (directory / "made").open("ab") as made:
            socket.send_fds(self._control, [request.encode()], [theirs.fileno(), said.fileno(), made.fileno()])
            pid = self._answer("pid")
        self._victim = Victim(pid, gate, Path(said.name), events, lambda: self._answer("code"))
        return self._victim

    def end(self) -> None:
        """Kills the run that a test which failed has left."""
        if self._victim is not None and self._victim.code is None:
            with suppress(ProcessLookupError):
                os.kill(self._victim.pid, signal.SIGKILL)
            self._victim.ended()

    def _answer(self, kind: str) -> int:
        word, _, number = self._answers.readline().partition(" ")
        assert word == kind, f"the zygote says {word!r}, not {kind}"
        return int(number)


@dataclass
class Victim:
    pid: int
    gate: socket.socket
    _said: Path
    _events: Path
    _await_code: Callable[[], int]
    code: int | None = None

    def reached(self) -> bool:
        """Waits for its moment; False if it ended before."""
        assert select.select([self.gate], [], [], DEADLINE)[0], f"its moment did not come: {self.said()}"
        return self.gate.recv(1) == b"!"

    def go_on(self) -> None:
        with suppress(BrokenPipeError):  # it ended meanwhile
            self.gate.send(b"g")

    def kill(self, what: str) -> int:
        """Itself, or with its process group; returns whether it was there."""
        try:
            (os.kill if what == "runner" else os.killpg)(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return 0
        return 1

    def ended(self) -> int:
        """Its exit code, once it has one."""
        self.code = self._await_code()
        self.gate.close()
        return self.code

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def events(self) -> list[Event]:
        return read_events(self._events) if self._events.exists() else []


def strike(site: Site, victim: Victim, directory: Path, what: str) -> int:
    """Kills it, its process group, or the programs of that name that it started; returns how many it hit."""
    if what in ("runner", "group"):
        return victim.kill(what)
    return strike_programs(site, directory, what)


def strike_programs(site: Site, directory: Path, program: str) -> int:
    return strike_all(of_this(site, directory), program)


def strike_all(found: Iterable[tuple[int, list[str]]], program: str) -> int:
    pids = [pid for pid, argv in found if Path(argv[0]).name == program]
    _send(pids, signal.SIGKILL)
    return len(pids)


def made(directory: Path) -> set[str]:
    """Temporary directories of the runs, on either host."""
    path = directory / "made"
    return set(path.read_text().split()) if path.exists() else set()


def of_this(site: Site, directory: Path) -> list[tuple[int, list[str]]]:
    """What the runs started on either host."""
    return with_marks({*made(directory), str(site.repository), f":{site.lab.record.vcenter.port}/"})


def with_marks(marks: Iterable[str]) -> list[tuple[int, list[str]]]:
    """Processes that have one of them on their command lines."""
    wanted = tuple(marks)
    return [(pid, argv) for pid, argv in processes() if any(mark in word for mark in wanted for word in argv)]


def sessions(site: Site) -> list[int]:
    """Of the hub's sshd."""
    listener = _listener(_hub(site))
    return [pid for pid, parent in _parents() if parent == listener]


def crash(site: Site) -> None:
    """Everything on the hub ends at once."""
    crash_host(_hub(site))


def crash_host(sshd: Path) -> None:
    """The sshd of this directory, its sessions, and all that they run."""
    found = {_listener(sshd)}
    # Stopped first: what is killed alone is seen, and answered, by what is not yet.
    while fresh := {pid for pid, parent in _parents() if parent in found} - found:
        found |= fresh
        _send(found, signal.SIGSTOP)
    _send(found, signal.SIGKILL)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)  # else it ended meanwhile


def _hub(site: Site) -> Path:
    return site.directory / "store" / "sshd"


def _listener(sshd: Path) -> int:
    return int((sshd / "pid").read_text())


def _parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): pid (comm) state ppid …; comm may hold spaces and brackets.
            yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked


def wait(seconds: float) -> None:
    """For a moment that is a random time after another one: here time itself is what is meant."""
    time.sleep(seconds)
