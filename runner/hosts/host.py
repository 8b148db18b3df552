"""Where commands run and files lie: this machine (`local`) or another over SSH (`ssh`), behind one protocol.

`tests/contract/test_host.py` is the one conformance suite that every implementation passes.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from runner.base.units import GiB, KiB, MiB
from runner.hosts.files import is_temporary
from runner.hosts.process import Completed

__all__ = [
    "LARGEST_LOG",
    "LARGEST_RECORD",
    "Child",
    "Completed",
    "FileStat",
    "Forwards",
    "Host",
    "Lock",
    "portions",
    "remove_temporaries",
]

PORTION = 64 * KiB
"""Bytes of quoted arguments, see `portions`."""

_SPECIAL = re.compile(rb"[^A-Za-z0-9_./-]")
_QUOTED = 17
"""Bytes that quoting makes of one, at most: a quote, which is five characters then, three of them escaped."""

LARGEST_RECORD = 64 * MiB
"""Of files that are read whole: those that are written have a few MiB at most."""

LARGEST_LOG = 8 * GiB
"""Of files that are read in pieces: a ledger has 44 bytes for each MiB of its disk, 2.8 GiB for the 62 TiB
that VMFS allows, and may be written twice."""


@dataclass(frozen=True)
class FileStat:
    """`size` and `allocated` in bytes; `mtime_ns` as the host's clock says (whole seconds on SSH hosts)."""

    size: int
    allocated: int
    mtime_ns: int
    is_dir: bool
    mode: int


class Child(Protocol):
    """A process started on a host and leashed to us: it ends when this object is closed or this process dies,
    by SIGKILL too (which a program started through ssh alone survives)."""

    argv: tuple[str, ...]
    host: str

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def stderr(self) -> str:
        """The last 64 KiB it wrote to standard error (and standard output, which is merged into it)."""

    def stop(self, timeout: float = 10.0) -> None:
        """TERM, after half of `timeout` KILL; returns once it is gone. Absent is fine. Raises CommandError if
        it stays."""


@dataclass(frozen=True)
class Forwards:
    """Local unix sockets that lead to a host; `children` are the ssh processes that carry them, none on the
    local host. `runner.hosts.tunnel.explain` says what is wrong with them once a connection through a socket
    failed."""

    sockets: tuple[str, ...]
    children: tuple[Child, ...]
    retire: Callable[[], None] = lambda: None
    """For a socket through which nothing comes, though ssh is alive: later forwards get another ssh."""


class Lock(Protocol):
    before: str
    """The token of its last holder."""

    def alive(self) -> bool:
        """False once the session that holds the lock broke. On an SSH host it asks, if it did not hear from
        there just now: a process that was frozen may have lost the lock meanwhile."""

    def release(self) -> None: ...


class Host(Protocol):
    name: str
    """The job's word for it (`store`)."""

    local: bool

    mark: str
    """Stands in the command line of everything that is started there, see `runner.hosts.supervisor.mark_of`;
    empty for none."""

    def until(self, stop: threading.Event) -> Host:
        """The same host, for work that ends when `stop` is set: a command that runs then is ended, a sync and
        the reading of a file are left, nothing more is started, and Interrupted is raised. What takes a
        moment, and what removes, does its work all the same, so that a failure can be cleaned up after. Hosts
        that a step gets are bound to the run's stop; `runner.base.waiting.NEVER` unbinds."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        silence: float = math.inf,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        """Runs to the end. Raises CommandError if the exit code is not in `ok` (None: any), or time is up:
        `timeout` seconds for all, `silence` seconds without standard output; HostError (transient) if the
        host cannot be reached, Interrupted. Children never inherit secrets: the environment is a fixed small
        one (PATH, HOME, LANG=C.UTF-8, LC_ALL=C.UTF-8, TMPDIR)."""

    def popen(self, argv: Sequence[str]) -> Child:
        """Starts a leashed process."""

    def exists(self, path: str) -> bool: ...

    def stat(self, path: str) -> FileStat | None:
        """None if absent."""

    def listdir(self, path: str) -> list[str]:
        """Names, sorted; empty if the directory is absent."""

    def mkdir(self, *paths: str, mode: int = 0o700, parents: bool = False) -> None:
        """In this order, durably. Existing is fine. `parents`: also those of the first."""

    def read(self, path: str, *, limit: int = LARGEST_RECORD) -> bytes:
        """A regular file of at most `limit` bytes. Raises FileNotFoundError, NotAFileError (a symbolic link
        is none either), TooLargeError."""

    def read_chunks(self, path: str, chunk: int = 1 << 20, *, limit: int = LARGEST_LOG) -> Iterator[bytes]:
        """As `read`, in pieces of exactly `chunk` bytes, the last one shorter."""

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Whole, atomic and durable: temp beside it, fsync, rename, fsync of the directory. Raises
        NoSpaceError."""

    def write_sparse(
        self,
        path: str,
        size: int,
        pieces: Iterable[tuple[int, bytes]],
        *,
        mode: int = 0o600,
        then: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """A file of `size` bytes with `pieces` (offset, content) in it and holes elsewhere; atomic and
        durable. `then`: the names and contents of further files beside it, each as `write` makes it once the
        one before is durable: that the last is there proves all of them."""

    def append(self, path: str, content: bytes) -> None:
        """Appends and syncs; creates with mode 0600. Raises NotAFileError."""

    def sync(self, *paths: str) -> None:
        """fsync of files and directories."""

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        """In one act, and then syncs the directories. Refuses to overwrite (FileExistsError) unless told to
        `replace` a file: its name then always leads to the old one or to the new one, whenever a crash
        comes."""

    def remove(self, *paths: str, recursive: bool = False) -> None:
        """In this order. Absent is fine; a symlink is removed, never followed."""

    def free_bytes(self, path: str) -> int:
        """Free for us on the file system of `path`, which exists."""

    def tempdir(self, room: int = 0, *, on_disk: bool = False) -> AbstractContextManager[str]:
        """A 0700 directory for sockets and password files, removed at the end. Its path has 40 bytes at most,
        since a unix socket's may have no more than 107. One for `room` bytes of content is in memory where
        that has so much free, else in the host's TMPDIR or /tmp; `on_disk`, for what is too much for memory:
        in TMPDIR, /tmp or /var/tmp, never in one that is a tmpfs. Raises NoRoomError if none has so much;
        nothing is reserved."""

    def lock(self, path: str, holder: str, token: str = "") -> Lock:
        """`flock` on `path`, taken without waiting; the file then says `holder`, and `token` (one word) also
        when the lock was released, see `runner.hosts.lock_file`. Raises LockedError with the text of the
        present holder. Freed by our death, and where the network was cut,
        `runner.hosts.ssh.lock.RELEASE_AFTER` seconds after we were last heard of."""

    @property
    def account(self) -> str:
        """The name of the user that commands run as."""

    @property
    def ports(self) -> range:
        """TCP ports of 127.0.0.1 that a server there may take where no unix socket can be reached; empty if
        that never is."""

    def reach(self, server: str, port: int, timeout: float = 15.0) -> str | None:
        """Makes a TCP connection from there, and ends it: empty if that can be done, else why not. None where
        it cannot be asked, since the host's sshd connects nowhere for us."""

    def forward(self, sockets: Sequence[str], *, dedicated: bool = False) -> AbstractContextManager[Forwards]:
        """Local unix sockets that lead to `sockets` (unix sockets on this host, or ``127.0.0.1:10100``),
        through the ssh process that small work shares, or through a `dedicated` one for each; on the local
        host they are `sockets` themselves. Not yet probed: the caller makes its own handshake through them,
        since a server that prohibits forwards shows it only there."""

    def lend(self, sockets: Sequence[str]) -> AbstractContextManager[tuple[str, ...]]:
        """Unix sockets on this host, for our account alone, that lead to local `sockets`: a program there
        reads what only we can reach. They go with us; on the local host they are `sockets` themselves. Raises
        LendingForbidden where its sshd makes none, HostError, Interrupted."""

    def close(self) -> None: ...


def portions(arguments: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """As many of them at a time as one command line surely takes: behind sshd all of it is one argument of
    the login shell, which Linux limits to 128 KiB (execve(2), MAX_ARG_STRLEN)."""
    portion: list[str] = []
    room = PORTION
    for argument in arguments:
        length = len(_SPECIAL.sub(b"x" * _QUOTED, os.fsencode(argument))) + _QUOTED
        if portion and length > room:
            yield tuple(portion)
            portion, room = [], PORTION
        portion.append(argument)
        room -= length
    if portion:
        yield tuple(portion)


def remove_temporaries(host: Host, *directories: str) -> None:
    """What writes that a kill or a power cut interrupted left there. The caller has the lock of those who
    write there."""
    for directory in directories:
        for name in host.listdir(directory):
            if is_temporary(name):
                host.remove(posixpath.join(directory, name))
