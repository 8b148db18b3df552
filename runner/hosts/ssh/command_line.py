"""What an account's login shell is given: a line that any of them reads as the same words, for a POSIX shell
to run.

sshd hands a command to the login shell of the account, or to a ForceCommand, and neither need be a POSIX
shell. csh takes `!` for history and ends a line at a newline even between single quotes, fish takes a
backslash there for its own. So the words that travel hold printable ASCII without these, all else as octal
escapes, and `sh` puts them together again (tried as login shells: bash, dash, zsh, ksh93, mksh, rc, csh, tcsh
and fish; as `sh`: dash, bash and busybox).

Before it becomes the command, that `sh` says a word of ours: what the session printed before it is not the
command's (`runner.hosts.ssh.preamble`).
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.hosts.script import load

_NOT_PLAIN = re.compile(rb"[^ -~]|['\\!]")

_LONGEST_WORD = 800
"""Old csh knows none of more than 1024 bytes."""

_PIECE = re.compile(rb".{1,%d}(?<!\\)(?<!\\.)(?<!\\..)(?<!\\...)" % _LONGEST_WORD)
"""No escape is cut in two: each is a backslash and four digits, and no other backslash travels."""

_LOGIN = load("runner/hosts/ssh/scripts/login.sh").line
_MERGED = load("runner/hosts/ssh/scripts/login-merged.sh").line


def _half() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Word:
    """Ours alone. It travels in two halves, so that a login that prints the commands that it is given does
    not say it."""

    first: str = field(default_factory=_half)
    second: str = field(default_factory=_half)

    @property
    def line(self) -> bytes:
        return f"{self.first}{self.second}\n".encode()


def command_line(argv: Sequence[str], word: Word, *, merged: bool) -> bytes:
    """Says `word` on standard output and standard error, and becomes `argv`, whatever is in it; file names
    that are not UTF-8 come as surrogates (os.fsdecode). `merged`: standard error is standard output from then
    on, and the word is said once. Raises ValueError for a NUL, which no argument can hold."""
    if any("\0" in argument for argument in argv):
        raise ValueError("embedded null byte")
    command = f"exec {shlex.join(argv)}".encode("utf-8", "surrogateescape")
    start = f"exec sh -c '{_MERGED if merged else _LOGIN}' sh {word.first} {word.second}"
    return b" ".join([start.encode(), *(b"'%b'" % piece for piece in _pieces(command))])


def _pieces(command: bytes) -> list[bytes]:
    """As `printf %b` takes them."""
    return _PIECE.findall(_NOT_PLAIN.sub(lambda found: b"\\0%03o" % found[0][0], command))
