"""What a run cost: seconds, CPU seconds of the program and of the servers it used, peak memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.units import KiB

TIMEOUT = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK = 0.02
"""Seconds between two looks at how much memory a foreign program has."""


@dataclass(frozen=True)
class Cost:
    """`cpu`: of the copying program; `servers`: CPU seconds of the servers and ssh processes; `memory`: bytes."""

    seconds: float
    cpu: float
    servers: float
    memory: int


def median(costs: Sequence[Cost]) -> Cost:
    """Each number's own median."""
    return Cost(
        seconds=statistics.median(cost.seconds for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        servers=statistics.median(cost.servers for cost in costs),
        memory=int(statistics.median(cost.memory for cost in costs)),
    )


def run_engine(disks: Sequence[dict[str, list[str]]], *, apart: Iterable[int] = ()) -> Cost:
    """Copies by the product's engine in a process of its own; `apart`: pids that are not counted among the servers."""
    argv = [sys.executable, "-m", "tests.bench.copier", json.dumps(list(disks))]
    before = _servers(apart)
    done = subprocess.run(argv, capture_output=True, check=False, timeout=TIMEOUT)
    servers = _difference(before, _servers(apart))
    if done.returncode:
        raise RuntimeError(f"the copy failed: {done.stderr.decode(errors='replace')}")
    said = json.loads(done.stdout)
    return Cost(seconds=said["seconds"], cpu=said["cpu"], servers=servers, memory=said["memory"])


def run_program(argv: Sequence[str], *, apart: Iterable[int] = ()) -> Cost:
    """Runs a program to its end."""
    before = _servers(apart)
    used = os.times()
    began = time.perf_counter()
    memory = 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
        while program.poll() is None:
            memory = max(memory, peak_memory(str(program.pid)))
            try:
                program.wait(_LOOK)
            except subprocess.TimeoutExpired:
                if time.perf_counter() - began > TIMEOUT:
                    program.kill()
                    raise
        seconds = time.perf_counter() - began
        after = os.times()
        assert program.stderr is not None
        if program.returncode:
            raise RuntimeError(f"{argv[0]} failed: {program.stderr.read().decode(errors='replace')}")
    cpu = after.children_user + after.children_system - used.children_user - used.children_system
    return Cost(seconds, cpu, _difference(before, _servers(apart)), memory)


def peak_memory(pid: str) -> int:
    """Bytes; 0 if it is gone. Not ru_maxrss, which is handed down from the process that started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * KiB for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def spent_below(pid: int) -> float:
    """CPU seconds so far of a process and of all below it that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _servers(apart: Iterable[int]) -> dict[int, float]:
    """CPU seconds so far of each process below this one but those below `apart`."""
    found: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS
    mine, others = os.getpid(), set(apart)

    def ours(pid: int) -> bool:
        while pid in found and pid not in others:
            pid = found[pid][0]
            if pid == mine:
                return True
        return False

    return {pid: cpu for pid, (_, cpu) in found.items() if ours(pid)}


def _difference(before: dict[int, float], after: dict[int, float]) -> float:
    return sum(cpu - before.get(pid, 0.0) for pid, cpu in after.items())
