"""Secrets by reference: the job says where a secret is, never what it is; it is read at use and not kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from runner.errors import UsageError
from runner.model import FilePath, JobModel

EXEC_TIMEOUT = 30.0


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
    exec: tuple[str, ...]
    """A command and its arguments; what it prints is the secret."""


SecretRef = FromEnv | FromFile | FromExec


def resolve(reference: SecretRef) -> Secret:
    """The secret, without a trailing newline. Raises UsageError with a sentence that does not quote it."""
    match reference:
        case FromEnv(env=name):
            where = f"the environment variable {name}"
            if (text := os.environ.get(name)) is None:
                raise UsageError(
                    f"the environment variable {name} is not set; it should hold the secret the job refers to"
                )
        case FromFile(file=path):
            where = f"the file {path}"
            try:
                text = Path(path).read_text()
            except OSError as error:
                raise UsageError(f"the secret file {path} cannot be read: {error.strerror}") from error
        case FromExec(exec=argv):
            where = f"the command {argv[0]!r}"
            text = _output_of(argv)
    text = text.rstrip("\r\n")
    if not text:
        raise UsageError(f"the secret from {where} is empty")
    return Secret(text)


def _output_of(argv: tuple[str, ...]) -> str:
    # The one child that gets our whole environment: keepers of secrets are told there where they are and who asks.
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=EXEC_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = "it did not end in time" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
        raise UsageError(f"the command {argv[0]!r} for a secret failed: {reason}") from error
    if done.returncode != 0:
        raise UsageError(f"the command {argv[0]!r} for a secret ended with exit code {done.returncode}")
    return done.stdout
