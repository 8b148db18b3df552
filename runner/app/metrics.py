"""Metrics of runs, as a file. Packages bring what is in it by the entry points `sendense.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.plugins import installed, load
from runner.events.events import Event
from runner.hosts.connect import OpenHosts
from runner.job.model import Job

INSTALLED = "sendense.metrics"
"""The group of entry points: each names a `MetricsWriter`."""


@dataclass(frozen=True)
class LastRun:
    """Of a job, or of a child of a set."""

    file: str
    """The job's."""
    exit_code: int
    item: str = ""
    """Of a child, its item's id."""
    name: str = ""
    """And that item's name."""
    waited: float | None = None
    """Seconds that a child waited for its turn: for a limit, or a free process."""
    held: int | None = None
    """How much it still holds in the world; None: it did not say."""


@dataclass(frozen=True)
class Ran:
    """One command that ran jobs."""

    jobs: Sequence[Job]
    """Those that could be read."""
    last: Sequence[LastRun]
    waiting: int
    """How many were to run and did not begin."""


MetricsWriter = Callable[[Ran, Path, Callable[[Event], None], OpenHosts | None], None]
"""``write(ran, file, listener, hosts)``. Raises SendenseError."""


def write_metrics(
    ran: Ran, file: Path, listener: Callable[[Event], None], hosts: OpenHosts | None = None
) -> None:
    """Raises SendenseError."""
    for entry in installed(INSTALLED).values():
        load(entry)(ran, file, listener, hosts)
