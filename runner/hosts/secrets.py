"""Secrets by reference: the job says where a secret is, never what it is; it is read at use and not kept."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path
from typing import Annotated

from pydantic import Field

from runner.base.errors import CommandError, UsageError, ending
from runner.base.model import FilePath, JobModel
from runner.base.waiting import NEVER
from runner.hosts.process import run
from runner.hosts.supervisor import is_missing

EXEC_TIMEOUT = 30.0
LAST_LINES, LAST_CHARACTERS = 6, 600
"""Of what a command that failed said; a page of usage is no sentence."""


class Secret:
    """Text that does not show itself; `reveal` where it is handed over."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


class FromEnv(JobModel):
    env: str
    """The environment variable that holds it."""


class FromFile(JobModel):
    file: FilePath
    """The file that holds it."""


class FromExec(JobModel):
    exec: Annotated[tuple[str, ...], Field(min_length=1)]
    """A command and its arguments; what it prints is the secret."""


SecretRef = FromEnv | FromFile | FromExec


def resolve(reference: SecretRef, stop: threading.Event = NEVER) -> Secret:
    """The secret, without a trailing newline: one line of text. Raises UsageError with a sentence that does
    not quote it; Interrupted if `stop` comes while a command is to print it, which ends then."""
    match reference:
        case FromEnv(env=name):
            where = f"the environment variable {name}"
            if (found := os.environ.get(name)) is None:
                raise UsageError(
                    f"the environment variable {name} is not set; set it to the secret that the job refers to"
                )
            content = os.fsencode(found)
        case FromFile(file=path):
            where = f"the file {path}"
            try:
                content = path_of(reference).read_bytes()
            except OSError as error:
                raise UsageError(f"the secret file {path} cannot be read: {error.strerror}") from error
        case FromExec(exec=argv):
            where = f"the command {argv[0]!r}"
            content = _output_of(argv, stop)
    content = content.rstrip(b"\r\n")
    if not content:
        raise UsageError(f"the secret from {where} is empty")
    if any(mark in content for mark in b"\0\r\n"):
        raise UsageError(f"the secret from {where} has more than one line")
    try:
        return Secret(content.decode())
    except UnicodeDecodeError:
        raise UsageError(
            f"the secret from {where} is not UTF-8 text"
        ) from None  # its cause quotes the secret


def credential(path: str) -> str:
    """The name under which a service's manager hands over the file at `path` (systemd's ``LoadCredential=``):
    the same for all jobs that name it so."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", os.path.basename(path))  # noqa: PTH119  a name, maybe of elsewhere
    return f"{name[:80]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def path_of(reference: FromFile) -> Path:
    """Where its file can be read: there, or where the manager of this service put it because this account
    cannot read it there."""
    path = Path(reference.file).expanduser()
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    if handed_over and not os.access(path, os.R_OK):
        there = Path(handed_over) / credential(reference.file)
        return there if there.exists() else path
    return path


def _output_of(argv: tuple[str, ...], stop: threading.Event) -> bytes:
    # The one child that gets our whole environment: keepers of secrets are told there where they are and who
    # asks.
    try:
        done = run(argv, timeout=EXEC_TIMEOUT, ok=None, whole_environment=True, stop=stop)
    except OSError as error:
        raise UsageError(f"the command {argv[0]!r} for a secret failed: {error.strerror}") from error
    except CommandError as error:
        # Its cause has what it printed so far.
        raise UsageError(
            f"the command {argv[0]!r} for a secret did not end within {EXEC_TIMEOUT:g} s{_said(error.stderr)}"
        ) from None
    if done.exit_code != 0:
        if is_missing(done.exit_code, done.stderr):
            raise UsageError(f"the command {argv[0]!r} for a secret failed: No such file or directory")
        how = ending(done.exit_code)
        raise UsageError(f"the command {argv[0]!r} for a secret failed with {how}{_said(done.stderr)}")
    return done.stdout


def _said(stderr: str) -> str:
    """The last words of a keeper of secrets that failed: of its standard error alone, the other stream is for
    the secret."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = " / ".join(lines[-LAST_LINES:])[-LAST_CHARACTERS:]
    return f": {said}" if said else ", and it printed nothing on standard error"
