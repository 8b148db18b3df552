"""What a session prints before it becomes our command: start-up files of the account, a ForceCommand, sshd
itself.

A line of a `.bashrc`, a locale that is missing, "stdin is not a tty", a home directory that is gone: none of
it is an answer of ours. It ends with the word that the command line says first
(`runner.hosts.ssh.command_line`), and is told once a host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.base.errors import HostError
from runner.base.printable import printable
from runner.base.units import KiB

LONGEST = 64 * KiB
"""Every session pays for it, and an endless one must be an error at once."""

_SHOWN = 200


class NoShellError(HostError):
    """Nothing of ours ran in the session. `printed` on either stream; `ended_with` None (and transient) if it
    did not end."""

    def __init__(self, host: str, account: str, ended_with: int | None, printed: bytes) -> None:
        how = "does not end" if ended_with is None else f"ended with exit code {ended_with}"
        super().__init__(
            f"{host} starts no POSIX shell for {account}: what sshd runs for that account {how} and printed "
            f"{_first_line(printed)}; give the account a shell (chsh -s /bin/sh), or a ForceCommand that "
            "runs $SSH_ORIGINAL_COMMAND",
            transient=ended_with is None,
        )
        self.host = host
        self.account = account
        self.ended_with = ended_with
        self.printed = printed


class NoisyLoginError(HostError):
    """It prints more than anybody's greeting, perhaps without end."""

    def __init__(self, host: str, account: str, printed: bytes) -> None:
        super().__init__(
            f"the login of {account} on {host} prints more than {LONGEST // KiB} KiB before it runs a "
            f"command, first {_first_line(printed)}; make the account's start-up files (.bashrc, .ssh/rc, a "
            "ForceCommand) silent where there is no terminal"
        )
        self.host = host
        self.account = account


class Account:
    """One account on one host, whose sessions may print something of their own. Safe from any thread."""

    def __init__(self, host: str, name: str, warn: Callable[[str], None]) -> None:
        """`warn` is told of it, once."""
        self.host = host
        self.name = name
        self._warn = warn
        self._told = threading.Lock()

    def printed(self, content: bytes) -> None:
        if content.strip() and self._told.acquire(blocking=False):
            self._warn(
                f"the login of {self.name} on {self.host} prints {_first_line(content)} before each command: "
                "that is skipped; make the account's start-up files silent where there is no terminal"
            )


class Preamble:
    """Of one stream of one session."""

    def __init__(self, word: bytes, account: Account) -> None:
        self.over = False
        self.content = b""
        """What came before the word so far."""
        self._word = word
        self._account = account

    def strip(self, content: bytes) -> bytes:
        """What of `content`, which came next, is the command's. Raises NoisyLoginError."""
        if self.over:
            return content
        self.content, word, rest = (self.content + content).partition(self._word)
        if len(self.content) > LONGEST:
            raise NoisyLoginError(self._account.host, self._account.name, self.content)
        if word:
            self.over = True
            self._account.printed(self.content)
        return rest


def _first_line(printed: bytes) -> str:
    """Of those that say something, in quotes, safe for a terminal."""
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "nothing"
    shown = printable(lines[0])
    return f'"{shown[:_SHOWN]}{"…" if len(shown) > _SHOWN else ""}"'
