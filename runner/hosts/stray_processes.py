"""What a dead run, or one that was cut off, may have left on a host: marked processes, and temporary
directories.

Processes end with us: their leash is a pipe, or an ssh session's standard input. Where nobody closes it,
since the runner is frozen or the network is cut, they are found by the mark in their shell's command line; a
temporary directory outlives a power cut, and says whose it is. Nothing is ended or removed by name: a process
is the one that was seen when its start and command line are still the same (`runner.hosts.identity`), a
directory is dead when the process that kept it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import HostError
from runner.hosts.host import Host
from runner.hosts.identity import Identity, own, parse
from runner.hosts.lock_file import read_lock
from runner.hosts.script import load
from runner.hosts.supervisor import marked

END_TIMEOUT = 20
"""Seconds for processes to go after their TERM."""

_FIND = load("runner/hosts/scripts/find-strays.sh")
_END = load("runner/hosts/scripts/end-processes.sh")
_IS_ALIVE = load("runner/hosts/scripts/is-alive.sh")


@dataclass(frozen=True)
class Marked:
    """A shell that carries a run's mark, and with it what it holds."""

    process: Identity
    run: str
    execution: str
    since: datetime
    command: tuple[str, ...]
    """What stands behind the mark in its command line: the arguments of the script that it runs."""

    @property
    def program(self) -> str:
        """What a supervisor runs (`supervise.sh`: its fourth argument on); ``sh`` for any other script."""
        supervised = len(self.command) > 3 and self.command[0].isdigit() and " " in self.command[2]
        return self.command[3] if supervised else "sh"


@dataclass(frozen=True)
class DeadDirectory:
    path: str
    run: str
    """Empty if it does not say."""
    since: datetime


@dataclass(frozen=True)
class Leftovers:
    processes: tuple[Marked, ...]
    directories: tuple[DeadDirectory, ...]


def look(host: Host) -> Leftovers:
    """Everything marked on `host`, of living runs too, and the directories of dead ones. Raises HostError,
    CommandError."""
    processes, directories = [], []
    for line in host.run(_FIND.argv()).stdout.decode(errors="replace").splitlines():
        kind, since, what, rest = (*line.split(" ", 3), "", "", "")[:4]
        when = datetime.fromtimestamp(int(since), UTC)
        if kind == "directory":
            run = marked(rest) or ("", "")
            directories.append(DeadDirectory(what, run[0], when))
        elif (found := _marked(what, rest, when)) is not None:
            processes.append(found)
    return Leftovers(tuple(processes), tuple(directories))


def end(host: Host, processes: Iterable[Identity], signal: str = "TERM") -> None:
    """Returns once they are gone. Raises CommandError if one stays."""
    if identities := [str(process) for process in processes]:
        host.run(_END.argv(signal, str(10 * END_TIMEOUT), *identities), timeout=2.0 * END_TIMEOUT)


def tidy(host: Host, run: str, execution: str) -> None:
    """Ends what earlier executions of `run` left on `host`: for the one that holds the run's lock. Dead
    temporary directories go too, whose ever they are."""
    found = look(host)
    end(host, (one.process for one in found.processes if one.run == run and one.execution != execution))
    for directory in found.directories:
        host.remove(directory.path, recursive=True)


def is_alive(host: Host, process: Identity) -> bool:
    return host.run(_IS_ALIVE.argv(str(process)), ok=None).exit_code == 0


def holder_at(host: Host, path: str) -> str | None:
    """Who holds the lock at `path`, in words, without touching it; None if nobody does, and if the process
    that the file names no longer exists: a kill leaves the name."""
    try:
        text = read_lock(host.read(path))
    except FileNotFoundError:
        return None
    return text.holder if text.holder and text.process is not None and is_alive(host, text.process) else None


def end_session(host: Host, path: str, token: str, *, also_marked: bool = True) -> None:
    """Ends the session that holds the lock at `path`, if it is still that of `token`, and everything on
    `host` with its mark. Where the lock is held by a runner itself, on its machine, that is the runner.
    Raises HostError if the file does not say whose session it is, and if it is this very process."""
    try:
        text = read_lock(host.read(path))
    except FileNotFoundError:
        return
    if text.token != token:
        return
    if text.process is None:
        raise HostError(
            f"{path} on {host.name} does not say which process holds the lock: end that run where it runs"
        )
    if text.process == own():
        raise HostError(f"{path} on {host.name} is locked by this run itself, under another name of its host")
    # A frozen process takes no TERM; the shell of a session has nothing to lose by it.
    end(host, (text.process,), "KILL")
    if also_marked and token:
        run, _, execution = token.partition(":")
        end(
            host,
            (one.process for one in look(host).processes if (one.run, one.execution) == (run, execution)),
        )


def _marked(command: str, identity: str, since: datetime) -> Marked | None:
    """None for a process that ended while we looked."""
    process = parse(identity)
    try:
        argv = base64.b64decode(command, validate=True).rstrip(b"\0").decode(errors="replace").split("\0")
    except binascii.Error:
        return None
    for number, argument in enumerate(argv):
        if (found := marked(argument)) is not None and process is not None:
            return Marked(process, *found, since, tuple(argv[number + 1 :]))
    return None
