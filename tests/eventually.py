"""Waiting for a condition with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def eventually(condition: Callable[[], object], timeout: float = 10.0) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether that process ended; one that nobody has waited for yet has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def children_of_ours() -> set[int]:
    """The processes that this one started, of any thread."""
    return {int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def ssh_processes() -> set[int]:
    """Those of this process and below it that are logged in somewhere, not those that ask them for something."""
    found, parents = set(), {os.getpid()}
    while parents:
        children: set[int] = set()
        for parent in parents:
            for path in Path(f"/proc/{parent}/task").glob("*/children"):
                with suppress(OSError):  # it ended
                    children |= {int(pid) for pid in path.read_text().split()}
        for pid in children:
            with suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found |= {pid} if argv[0] == b"ssh" and b"-O" not in argv and b"-W" not in argv else set()
        parents = children
    return found


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
