"""A repository as a command knows it."""

from __future__ import annotations

from dataclasses import dataclass

from runner.hosts.host import Host


@dataclass(frozen=True)
class Place:
    """One of a job's repositories."""

    name: str
    """As the job calls it."""
    host: Host
    path: str
