"""What root installs on a repository's host: a script, a service and a timer."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from runner.base.render import render_report
from runner.base.slug import slug
from runner.base.systemd import literal, word
from runner.base.units import DAY, written_duration
from runner.hosts.script import source

EVERY = 300
"""Seconds between two looks: as long as a new point is not locked yet."""
INSTALLED = "/usr/local/sbin/sendense-lock"
RECORDS = "/var/lib"
INSTALL = "install.sh"


@dataclass(frozen=True)
class LockTimer:
    """Of one repository: root of its host holds to what is said here, whatever the repository says."""

    name: str
    """That of the repository in the site."""
    path: str
    """Absolute, on the host."""
    account: str
    """The one there that runners log in as."""
    lock: float
    """Seconds from when a point is first seen."""

    @property
    def unit(self) -> str:
        return self.unit_of(self.name)

    @staticmethod
    def unit_of(name: str) -> str:
        """Of the repository of that name."""
        return f"sendense-lock-{slug(name)}"

    @property
    def state(self) -> str:
        """Below /var/lib: the directory of its record."""
        return f"sendense-lock/{slug(self.name)}"

    def argv(self) -> tuple[str, ...]:
        seconds = str(round(self.lock)), str(EVERY)
        return INSTALLED, self.path, self.account, *seconds, posixpath.join(RECORDS, self.state)

    def texts(self) -> Mapping[str, str]:
        """File name → content; the last installs the others, which it has in it."""
        program = source("steps/lock/scripts/lock.sh")
        service = render_report(
            "lock/service.j2",
            {
                "path": literal(self.path),
                "mount": word(self.path),
                # What stands for a second path cannot stand in the first.
                "bind": None if ":" in self.path else word(f"{self.path}:{self.path}:norbind"),
                "command": " ".join(word(one.replace("$", 2 * "$")) for one in self.argv()),
                "state": self.state,
            },
        )
        timer = render_report(
            "lock/timer.j2", {"path": literal(self.path), "every": written_duration(EVERY), "seconds": EVERY}
        )
        install = render_report(
            "lock/install.sh.j2",
            {
                "lock": f"{self.lock / DAY:g} days",
                "every": written_duration(EVERY),
                "repository": shlex.quote(self.path),
                "account": shlex.quote(self.account),
                "unit": self.unit,
                "installed": INSTALLED,
                "program": program,
                "service": service,
                "timer": timer,
                "install": source("steps/lock/scripts/install.sh").partition("\n")[2].rstrip("\n"),
            },
        )
        names = posixpath.basename(INSTALLED), f"{self.unit}.service", f"{self.unit}.timer", INSTALL
        return dict(zip(names, (program, service, timer, install), strict=True))
