"""Shell that runs on hosts: each script is a `.sh` file beside the module that uses it, and travels as text
in the command line, since a host has no file of ours.

What a script needs comes as arguments: nothing is ever formatted into its text, so no name can become a part
of it. A line ``. ./NAME.sh`` stands for the text of that file, which shellcheck reads there too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

_SOURCED = re.compile(r"\. (\.\S+\.sh)")


@dataclass(frozen=True)
class Script:
    """`text` is for a POSIX shell."""

    text: str

    def argv(self, *arguments: str, name: str = "sh") -> tuple[str, ...]:
        """The command line that runs it; `name` is its $0, which /proc/PID/cmdline shows."""
        return ("sh", "-c", self.text, name, *arguments)

    @property
    def line(self) -> str:
        """All of it in one line, of a script whose every line is a whole command: for a login shell that ends
        a command at a newline."""
        return "; ".join(self.text.splitlines())


def load(path: str) -> Script:
    """The script at `path` in an importable package, such as ``runner/hosts/scripts/supervise.sh``. Raises
    FileNotFoundError."""
    return Script("".join(f"{line}\n" for line in _lines(path)))


def source(path: str) -> str:
    """The text of the script at that path with its comments: for people who read it before they run it."""
    package, _, name = path.partition("/")
    return resources.files(package).joinpath(name).read_text("utf-8")


def _lines(path: str) -> Iterator[str]:
    """Without comments: every command that is run carries the text of one script, and a login shell takes no
    argument of more than 128 KiB (execve(2), MAX_ARG_STRLEN)."""
    for line in source(path).splitlines():
        if sourced := _SOURCED.fullmatch(line):
            yield from _lines(posixpath.normpath(posixpath.join(posixpath.dirname(path), sourced[1])))
        elif line.strip() and not line.lstrip().startswith("#"):
            yield line
