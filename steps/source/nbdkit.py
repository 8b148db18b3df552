"""What the nbdkits of all transports share: how their command lines begin, and how they complain."""

from __future__ import annotations

import re

from runner.step.tools import Program
from steps.vsphere.errors import VSphereError

NBDKIT = Program(
    program="nbdkit",
    asks=("nbdkit", "--version"),
    answers=r"^nbdkit (\d+\.\d+\S*)",
    # For VDDK: --dump-plugin tells of the library, and requests run in parallel
    # (nbdkit-release-notes-1.30(1)).
    minimum=(1, 30),
    package="nbdkit",
    purpose="disks that are read here",
)

_ERROR_LINE = re.compile(r"^nbdkit: (?:\S+: )?error: (.*)\n", re.MULTILINE)
_CLIENT_GONE = re.compile(
    r"(?:write|read) (?:data|reply|error reply|request)\b.*: (?:Broken pipe|Connection reset by peer|Bad "
    r"file descriptor)$"
    r"|aborting sleep because of connection close"
)


class SourceFailed(VSphereError):
    pass


def begin(*, socket: str, pid_file: str, read_only: bool = True) -> tuple[str, ...]:
    """Of the command line; filters and the plugin follow. nbdkit makes `pid_file` when its socket listens."""
    return (
        "nbdkit",
        "--foreground",
        *(("--readonly",) if read_only else ()),
        "--log=stderr",
        f"--unix={socket}",
        f"--pidfile={pid_file}",
    )


def errors_in(stderr: str) -> list[str]:
    """What nbdkit complained of, in whole lines: it writes them in pieces. Not of us, who hung up when a read
    had failed."""
    return [line for line in _ERROR_LINE.findall(stderr) if not _CLIENT_GONE.match(line)]


def last_words(stderr: str) -> str:
    """Where it said nothing that reads as an error."""
    return " / ".join(stderr.strip().splitlines()[-3:]) or "nbdkit printed nothing"
