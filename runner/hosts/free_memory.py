"""How much memory of a host is free, before something starts there that takes as much as it was told to: who
takes more is ended by the kernel, and perhaps others before it."""

from __future__ import annotations

from runner.base.errors import HostError
from runner.base.units import KiB, human_bytes
from runner.hosts.host import Host
from runner.hosts.script import load

_FREE = load("runner/hosts/scripts/free-memory.sh")


class NoMemoryError(HostError):
    """What is to be started needs more than is free. Later there may be more."""


def free_memory(host: Host) -> int:
    """Bytes. Raises HostError, CommandError."""
    return max(0, int(host.run(_FREE.argv()).stdout)) * KiB


def require_memory(host: Host, wanted: int) -> None:
    """Raises NoMemoryError if less than `wanted` bytes are free; HostError, CommandError."""
    if wanted and (free := free_memory(host)) < wanted:
        raise NoMemoryError(
            f"{human_bytes(wanted)} of memory are needed on {host.name}, which has {human_bytes(free)} free: "
            "free some there, or take less"
        )
