"""Which process it is, beyond its number: numbers are given again, and after a reboot from the start.

A process is the one that was meant if its number, the clock tick it started at, the machine's boot and its
command line are all the same. Nothing here trusts less. Scripts ask by `scripts/identity.sh`.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

_TEXT = re.compile(r"(\d+) (\d+) ([0-9a-f-]{36}) ([0-9a-f]{16})")


@dataclass(frozen=True)
class Identity:
    pid: int
    start: int
    """Clock ticks after the boot."""
    boot: str
    command: str
    """The first 16 digits of the SHA-256 of /proc/PID/cmdline."""

    def __str__(self) -> str:
        return f"{self.pid} {self.start} {self.boot} {self.command}"


def own() -> Identity:
    stat = Path("/proc/self/stat").read_text()
    command = hashlib.sha256(Path("/proc/self/cmdline").read_bytes()).hexdigest()[:16]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Identity(os.getpid(), int(stat.rpartition(") ")[2].split()[19]), boot, command)


def parse(text: str) -> Identity | None:
    """None if it is none."""
    found = _TEXT.fullmatch(text.strip())
    return Identity(int(found[1]), int(found[2]), found[3], found[4]) if found else None
