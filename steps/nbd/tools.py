"""Programs that steps start on hosts: whether they are there, and new enough for the options that are
used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.base.errors import CommandError, SendenseError
from runner.events.check_results import Observation, observe
from runner.hosts.host import Host
from runner.hosts.process import Completed
from runner.hosts.supervisor import is_missing
from runner.step.context import Context
from steps.copy import nbd


@dataclass(frozen=True)
class Tool:
    """`asks` prints the version in a line that `answers` matches; it fails if the `part` of the program is
    missing."""

    program: str
    asks: tuple[str, ...]
    answers: str
    minimum: tuple[int, int]
    package: str
    """Debian's."""
    part: str = ""

    @property
    def name(self) -> str:
        return f"{self.program} with its {self.part}" if self.part else self.program

    @property
    def oldest(self) -> str:
        return ".".join(map(str, self.minimum))


# Before 4.0 qemu's NBD server told sizes and extents in multiples of its own block: an image that ends in the
# middle of one had another size at each end (qemu's ChangeLog/4.0, NBD). --pid-file came with 4.1, each other
# option is older.
QEMU_IMG = Tool(
    "qemu-img", ("qemu-img", "--version"), r"^qemu-img version (\d+\.\d+\S*)", (4, 0), "qemu-utils"
)
QEMU_NBD = Tool("qemu-nbd", ("qemu-nbd", "--version"), r"^qemu-nbd (\d+\.\d+\S*)", (4, 1), "qemu-utils")

# For VDDK: --dump-plugin tells of the library, and requests run in parallel (nbdkit-release-notes-1.30(1)).
NBDKIT = Tool("nbdkit", ("nbdkit", "--version"), r"^nbdkit (\d+\.\d+\S*)", (1, 30), "nbdkit")
NBDKIT_CURL = Tool(
    "nbdkit",
    ("nbdkit", "--dump-plugin", "curl"),
    r"^version=(\d+\.\d+\S*)",
    (1, 30),  # nbdkit-retry-request-filter(1): first appeared in nbdkit 1.30
    "nbdkit",
    "curl plugin",
)


class ToolMissing(SendenseError):
    """`found` is the version that is there, empty if there is none."""

    def __init__(self, host: str, tool: Tool, found: str) -> None:
        self.host = host
        self.tool = tool
        self.found = found
        seen = f"has {tool.program} {found}, which is too old" if found else f"has no {tool.name}"
        super().__init__(
            f"host {host} {seen}: install {tool.program} {tool.oldest} or newer there (Debian package "
            f"{tool.package})"
        )


def require(ctx: Context, host: Host, tool: Tool) -> str:
    """The version on `host`, asked once a run. Raises ToolMissing, HostError."""
    version = ctx.once(("tool", host.name, tool.name), lambda: version_on(host, tool))
    ctx.uses(f"{tool.program} on {host.name}", version)
    return version


def version_on(host: Host, tool: Tool) -> str:
    """Raises ToolMissing, HostError; CommandError for a program that is there and cannot say it."""
    done = host.run(tool.asks, ok=None)
    if is_missing(done.exit_code, done.stderr):
        raise ToolMissing(host.name, tool, "")
    found = re.search(tool.answers, done.stdout.decode(errors="replace"), re.MULTILINE)
    if found is None and (done.exit_code == 0 or _lacks_its_part(tool, done)):
        raise ToolMissing(host.name, tool, "")
    if found is None:
        # It is there: what keeps it from saying so is not mended by installing it.
        raise CommandError(host.name, tool.asks, done.exit_code, done.stderr)
    numbers = tuple(int(number) for number in re.findall(r"\d+", found[1])[:2])
    if numbers < tool.minimum:
        raise ToolMissing(host.name, tool, found[1])
    return found[1]


def _lacks_its_part(tool: Tool, done: Completed) -> bool:
    return bool(tool.part) and "No such file or directory" in done.stderr


def examine(ctx: Context, host: Host, tool: Tool) -> Observation:
    looked_at = f"{tool.name}, {tool.oldest} or newer"
    return observe(f"host {host.name}", looked_at, lambda: f"{tool.program} {require(ctx, host, tool)}")


def examine_libnbd() -> Observation:
    """On this machine, where the bytes pass through."""
    return observe("this machine", "libnbd's Python binding", lambda: f"libnbd {nbd.version()}")
