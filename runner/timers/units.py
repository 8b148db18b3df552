"""The two units of a job: a timer, and the service that it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.base.render import render_report
from runner.base.systemd import literal, word
from runner.hosts.secrets import credential
from runner.job.schedule import Schedule
from runner.timers.on_calendar import left_out, on_calendar

PREFIX = "sendense-"
MARKER = "# Written by `sendense timers`, which rewrites and removes it: change it by `systemctl edit`."
JOB = "# Job: "

TEMPORARY = ("/tmp", "/var/tmp")
"""Where sockets and what runs of one account share stands."""


@dataclass(frozen=True)
class Account:
    name: str
    home: str


@dataclass(frozen=True)
class Service:
    """Of one job. Paths are absolute."""

    unit: str
    """``sendense-gold``: without its ending."""
    job: str
    """Its name."""
    file: str
    schedule: Schedule
    account: Account
    command: Sequence[str]
    """What runs the job."""
    directory: str
    files: Sequence[str] = ()
    """Those of secrets."""
    variables: Sequence[str] = ()
    """The environment variables that hold secrets."""
    writes: Sequence[str] = ()
    """Directories on this machine that runs write into, beside the account's own."""

    def texts(self, now: datetime) -> dict[str, str]:
        """File name → content."""
        about: dict[str, object] = {
            "marker": MARKER,
            "file": _line(self.file),
            "name": literal(_line(self.job)),
        }
        timer: dict[str, object] = {
            "schedule": self.schedule,
            "lines": on_calendar(self.schedule),
            "left_out": list(left_out(self.schedule, now)),
        }
        # With a dash: what is not there (a disk that is not mounted) is told by the run, not by systemd.
        writable = [word(f"-{path}") for path in dict.fromkeys((self.account.home, *self.writes))]
        service: dict[str, object] = {
            "user": self.account.name,
            "directory": literal(self.directory),
            "command": " ".join(word(one.replace("$", 2 * "$")) for one in self.command),
            "credentials": [(credential(file), literal(file)) for file in self.files],
            "variables": self.variables,
            "writable": [*TEMPORARY, *writable],
        }
        return {
            f"{self.unit}.timer": render_report("timers/timer.j2", about | timer),
            f"{self.unit}.service": render_report("timers/service.j2", about | service),
        }


def _line(text: str) -> str:
    return " ".join(text.split())
