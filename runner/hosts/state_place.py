"""Where records of runs lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.hosts.host import Host


def _always_ready(host: Host) -> None:
    return None


@dataclass(frozen=True)
class StatePlace:
    """`path` on the host of that name. `ready(host)` raises a sentence if nothing may be made there now (a
    disk that is not mounted); it is asked before the first directory is."""

    host: str
    path: str
    ready: Callable[[Host], None] = _always_ready
