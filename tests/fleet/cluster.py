"""A scheduler, workers and a controller as processes on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.eventually import eventually, is_gone
from tests.fleet.authority import identity
from tests.fleet.toys import environment, order

LEASE = 2.0


class Cluster:
    """To be entered: nothing of it runs afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.identity = identity(directory / "identity")
        self.environment = environment(directory)
        self.address = f"tls://127.0.0.1:{free_port()}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "orders").mkdir()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def item(self, name: str, *, slices: int = 10, host: str = "") -> Path:
        root = self.directory / "items" / name
        root.mkdir(parents=True)
        (self.directory / "orders" / f"{name}.json").write_text(order(root, slices=slices, host=host).model_dump_json())
        return root

    def scheduler(self, *, wait: bool = True) -> None:
        self.sendense("scheduler", "scheduler", f"--listen={self.address}", *self.identity.options)
        if wait:
            assert eventually(lambda: "listens at" in self.said("scheduler"), 30), self.said("scheduler")

    def worker(self, name: str, *, host: str = "", slots: int = 2, wait: bool = True) -> None:
        options = [f"--scheduler={self.address}", f"--slots={slots}", f"--lease={LEASE}", *self.identity.options]
        options += [f"--host={host}"] if host else []
        before = self.said(name).count("listens at")
        self.sendense(name, "worker", *options)
        if wait:
            assert eventually(lambda: self.said(name).count("listens at") > before, 30), self.said(name)

    def controller(self, at_once: int = 4) -> None:
        argv = [sys.executable, "-m", "tests.fleet.controller", str(self.directory), self.address, str(at_once)]
        self.start("controller", argv)

    def sendense(self, name: str, *words: str) -> None:
        self.start(name, [sys.executable, "-P", "-m", "runner.cli", *words])

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv, env=environment or self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def said(self, name: str) -> str:
        log = self.directory / f"{name}.log"
        return log.read_text() if log.exists() else ""

    def send(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        if number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        return process.wait(timeout)

    def wait(self, name: str, timeout: float) -> int:
        return self.processes[name].wait(timeout)

    def ended(self) -> list[dict[str, Any]]:
        log = self.directory / "ended.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def children(self) -> set[int]:
        """Processes of children, whoever started them."""
        mine = f"XDG_STATE_HOME={self.directory}/state".encode()
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"runner.cli.child" in (path / "cmdline").read_bytes() and mine in (path / "environ").read_bytes():
                    found.add(int(path.name))
        return {pid for pid in found if not is_gone(pid)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(pid: int) -> set[tuple[str, int]]:
    """The TCP addresses at which that process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                inodes.add(match[1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in inodes:
                address, _, port = local.partition(":")
                family = socket.AF_INET if table == "tcp" else socket.AF_INET6
                raw = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found
