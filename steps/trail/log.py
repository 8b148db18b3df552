"""Writing to the log of a repository. What was done is done, whether it can be logged or not: a failure is a
warning."""

from __future__ import annotations

import getpass
import os
import posixpath
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import CommandError, Interrupted, SendenseError, StateError
from runner.base.units import MINUTE
from runner.hosts.host import Host
from runner.hosts.regular_file import refuse_no_file
from runner.hosts.script import load
from runner.step.context import Context
from steps.repository import layout
from steps.trail.entry import Act, Head, Told

PATIENCE = 30
"""Seconds that another writer is waited for: each needs milliseconds, of which an fsync takes most."""

_BUSY = 75
"""Exit code of the script where others write for that long."""

_APPEND = load("steps/trail/scripts/append.sh")


@dataclass(frozen=True)
class Log:
    """Of the repository at `root`, to be written by one command or run."""

    host: Host
    root: str
    job: str
    warn: Callable[[str], None]
    run: str = ""
    commit: str | None = None

    def note(
        self,
        act: Act,
        *,
        vm: str,
        points: Sequence[str] = (),
        text: str = "",
        unusual: bool | None = None,
    ) -> Head | None:
        """Durable when it returns; None if it could not be logged, which is a warning. `vm`: the VM's
        directory, or its name. Raises Interrupted."""
        told = Told(
            at=datetime.now(UTC),
            account=_account(),
            host=socket.gethostname(),
            job=self.job,
            run=self.run,
            commit=self.commit,
            act=act,
            vm=posixpath.basename(vm),
            points=tuple(points),
            text=text,
            unusual=unusual,
        )
        try:
            return append(self.host, self.root, told)
        except Interrupted:
            raise
        except SendenseError as error:
            self.warn(f"the log of the repository lacks this {act} of {told.vm}: {error.message}")
            return None


def of(ctx: Context, host: Host, root: str) -> Log:
    """For what a step does."""
    run = ctx.run
    return Log(host, root, run.job, ctx.warn, run.id, run.git_commit)


def note(
    ctx: Context,
    host: Host,
    root: str,
    act: Act,
    *,
    vm: str,
    points: Sequence[str] = (),
    text: str = "",
) -> Head | None:
    """See `Log.note`."""
    return of(ctx, host, root).note(act, vm=vm, points=points, text=text)


def note_of(ctx: Context, host: Host, path: str, act: Act, text: str = "") -> Head | None:
    """As `note`, of the one point in the directory `path`."""
    directory, point = posixpath.split(path)
    return note(ctx, host, posixpath.dirname(directory), act, vm=directory, points=(point,), text=text)


def append(host: Host, root: str, told: Told) -> Head:
    """Raises CommandError, StateError, HostError, Interrupted."""
    path = posixpath.join(root, layout.LOG)
    argv = _APPEND.argv(path, root, str(PATIENCE))
    try:
        done = host.run(argv, stdin=told.line.encode(), timeout=2 * MINUTE)
    except CommandError as error:
        if error.exit_code_seen == _BUSY:
            text = f"{path} on {host.name} is being written to by others, for {PATIENCE} s now"
            raise StateError(text) from error
        refuse_no_file(error, path)
        raise
    try:
        seq, digest = done.stdout.decode().split()
        return Head(seq=int(seq), digest=digest)
    except ValueError as error:
        raise StateError(f"{path} on {host.name}: its end could not be read back") from error


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
