"""Every error a user can meet: one sentence that says what to do, an exit code, and whether trying again may
help.

    SendenseError                   1   the run failed; run it again to resume
    ├── UsageError                  2   bad usage
    │   └── JobFileError            2   every mistake of a job file at once
    ├── LockedError                 3   another run holds it; names the holder
    │   └── LockLostError           3   this run held it, and another has it now or had it meanwhile
    ├── DifferenceError             5   bytes read back are not the bytes read at the source
    ├── Interrupted               130   stopped by a signal; resumable
    ├── StateError                  1   a checkpoint, ledger or manifest is damaged
    │   └── NewerError              1   … or was written by a newer version of this program
    ├── CommandError                1   a command failed: argv, exit code, stderr
    ├── HostError                   1   a host cannot be reached or refuses us
    └── TransientError              1   may pass: the engine reopens what it depended on and retries

A step raises its own subclasses. A bug is a traceback, never one of these.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

BY_SIGNAL = 128
"""Exit codes above are those of a program that was killed, or whose host was lost (255, as ssh(1) gives
it)."""


class SendenseError(Exception):
    """`message` is one sentence for a person; `details` (JSON) is kept with the failed node for its next
    attempt."""

    exit_code: ClassVar[int] = 1
    transient: bool = False
    fix_first: bool = False
    """Running again cannot help before somebody has changed something, which the message says."""
    shared: str = ""
    """The cause, where other runs would fail of the same now, in words that name it for all of them: ``login
    vcenter prod``, ``repository /backup on store``."""
    invalidates: tuple[str, ...] = ()
    """Names of the failed node's inputs whose nodes must run again, whatever their records say;
    ``copied/base`` is the `base` of its `copied`."""
    self_healing: bool = False
    """The nodes of `invalidates` run again in this very execution, once, and then the failed node has another
    turn."""

    def __init__(self, message: str, *, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}

    def __str__(self) -> str:
        return self.message

    def add(self, more: str) -> None:
        """Makes the sentence longer by what became known later."""
        self.message = f"{self.message}; {more}"


class UsageError(SendenseError):
    exit_code = 2
    fix_first = True


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    return isinstance(error, SendenseError) and error.transient


@dataclass(frozen=True)
class Problem:
    """One mistake in a job file; `line` and `column` count from 1, 0 where unknown."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}:{self.column}: {self.message}"
            if self.line
            else f"{self.file}: {self.message}"
        )


class JobFileError(UsageError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LockedError(SendenseError):
    """`holder` is the text the holder wrote: host, pid, run, since when; `token` what it is known by."""

    exit_code = 3

    def __init__(self, what: str, holder: str, token: str = "", *, sentence: str = "") -> None:
        super().__init__(sentence or f"{what} is locked by another run: {holder}")
        self.what = what
        self.holder = holder
        self.token = token


class LockLostError(LockedError):
    """A lock that this run had is another's, or was: it was frozen, or cut off from the lock's host, and must
    write nothing more. `noticed` reads ``2026-11-23 17:00:00 UTC``."""

    def __init__(self, what: str, holder: str, token: str = "", *, noticed: str) -> None:
        sentence = f"this run lost its lock on {what} to {holder} (noticed {noticed}): it writes nothing more"
        super().__init__(what, holder, token, sentence=sentence)
        self.noticed = noticed


class DifferenceError(SendenseError):
    exit_code = 5


class Interrupted(SendenseError):
    exit_code = 130

    def __init__(self, message: str = "interrupted; run the same command again to resume") -> None:
        super().__init__(message)


class StateError(SendenseError):
    pass


class NewerError(StateError):
    """A file that is whole, and of a newer version of this program. `schema` is the version that it names."""

    def __init__(self, where: str, schema: int) -> None:
        super().__init__(
            f"{where} was written by a newer version of sendense (schema {schema}): upgrade sendense here"
        )
        self.where = where
        self.schema = schema


class HostError(SendenseError):
    """`transient`: it cannot be reached at the moment."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.fix_first = not transient


class TransientError(SendenseError):
    transient = True


class CommandError(SendenseError):
    """A command ended badly or not in time (`exit_code_seen` is then None). Transient, unless told, if it was
    ended from without or did not end: neither says anything of what it was to do, and a host that is silent
    answers another time."""

    def __init__(
        self,
        host: str,
        argv: Sequence[str],
        exit_code_seen: int | None,
        stderr: str,
        *,
        transient: bool | None = None,
    ) -> None:
        self.host = host
        self.argv = tuple(argv)
        self.exit_code_seen = exit_code_seen
        self.stderr = stderr
        says_nothing = exit_code_seen is None or exit_code_seen > BY_SIGNAL
        self.transient = says_nothing if transient is None else transient
        how = "timed out" if exit_code_seen is None else f"failed with {ending(exit_code_seen)}"
        said = " / ".join(line.strip() for line in stderr.strip().splitlines()[-6:]) or ("it printed nothing")
        super().__init__(f"{shlex.join(self.argv[:2])} … on {host} {how}: {said}")


def ending(exit_code: int) -> str:
    """``exit code 1``, ``exit code 137 (killed by SIGKILL)``: of a program, in words."""
    try:
        killed = f" (killed by {signal.Signals(exit_code - BY_SIGNAL).name})" if exit_code > BY_SIGNAL else ""
    except ValueError:  # a program may end with any number
        killed = ""
    return f"exit code {exit_code}{killed}"
