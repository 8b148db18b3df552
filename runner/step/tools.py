"""What a step finds on a machine and does not make: programs of a host, and libraries of this Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from runner.base.errors import CommandError, SendenseError
from runner.events.check_results import Observation, good, noted, observe
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.process import Completed
from runner.hosts.supervisor import is_missing
from runner.step.context import Context

HERE = "this machine"


class Tool(Protocol):
    @property
    def name(self) -> str: ...

    def here(self) -> Observation:
        """Whether this machine has it, for a doctor that knows of no job."""


@dataclass(frozen=True)
class Program:
    """`asks` prints the version in a line that `answers` matches; it fails if the `part` of the program is
    missing. `purpose`: what a machine has it for, in words."""

    program: str
    asks: tuple[str, ...]
    answers: str
    minimum: tuple[int, int]
    package: str
    """Debian's."""
    purpose: str
    part: str = ""

    @property
    def name(self) -> str:
        return f"{self.program} with its {self.part}" if self.part else self.program

    @property
    def oldest(self) -> str:
        return ".".join(map(str, self.minimum))

    def require(self, ctx: Context, host: Host) -> str:
        """The version on `host`, asked once a run. Raises ToolMissing, HostError."""
        version = ctx.once(("tool", host.name, self.name), lambda: self.version_on(host))
        ctx.uses(f"{self.program} on {host.name}", version)
        return version

    def require_newer(self, ctx: Context, host: Host, minimum: tuple[int, int]) -> str:
        """As `require`, of what takes a newer version than all else does."""
        version = self.require(ctx, host)
        if _numbers(version) < minimum:
            raise ToolMissing(host.name, replace(self, minimum=minimum), version)
        return version

    def observe(self, ctx: Context, host: Host) -> Observation:
        """Whether a run will find it on `host`."""
        looked_at = f"{self.name}, {self.oldest} or newer"
        return observe(f"host {host.name}", looked_at, lambda: f"{self.program} {self.require(ctx, host)}")

    def here(self) -> Observation:
        """A note at most: whether this machine needs it is not known yet."""
        looked_at = f"{self.name}, for {self.purpose}"
        try:
            return good(HERE, looked_at, f"{self.program} {self.version_on(LocalHost(HERE))}")
        except ToolMissing as missing:
            old = f"{self.program} {missing.found} is too old"
            found = old if missing.found else f"{self.name} is not installed"
            return noted(HERE, looked_at, found, f"install {self.package} if it is needed here")
        except SendenseError as error:
            return noted(HERE, looked_at, error.message)

    def version_on(self, host: Host) -> str:
        """Raises ToolMissing, HostError; CommandError for a program that is there and cannot say it."""
        done = host.run(self.asks, ok=None)
        if is_missing(done.exit_code, done.stderr):
            raise ToolMissing(host.name, self, "")
        found = re.search(self.answers, done.stdout.decode(errors="replace"), re.MULTILINE)
        if found is None and (done.exit_code == 0 or self._lacks_its_part(done)):
            raise ToolMissing(host.name, self, "")
        if found is None:
            # It is there: what keeps it from saying so is not fixed by installing it.
            raise CommandError(host.name, self.asks, done.exit_code, done.stderr)
        if _numbers(found[1]) < self.minimum:
            raise ToolMissing(host.name, self, found[1])
        return found[1]

    def _lacks_its_part(self, done: Completed) -> bool:
        return bool(self.part) and "No such file or directory" in done.stderr


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


class ToolMissing(SendenseError):
    """`found` is the version that is there, empty if there is none."""

    def __init__(self, host: str, tool: Program, found: str) -> None:
        self.host = host
        self.tool = tool
        self.found = found
        seen = f"has {tool.program} {found}, which is too old" if found else f"has no {tool.name}"
        super().__init__(
            f"host {host} {seen}: install {tool.program} {tool.oldest} or newer there (Debian package "
            f"{tool.package})"
        )


@dataclass(frozen=True)
class Binding:
    """A library of the Python that runs us: the data passes through this machine, so every run of such a step
    needs it here. `version` names it with its version, or raises the SendenseError that a run would meet."""

    name: str
    version: Callable[[], str]

    def here(self) -> Observation:
        return observe(HERE, self.name, self.version)
