"""What every way of connecting to a server shares: how many connections start at once, timeouts, host
keys.

At once counts the runs of one user on this machine: twelve runs that a timer or `--parallel` starts meet at
the same sshd. So the slots are files under `flock`, which a process that dies gives back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from runner.base.waiting import until
from runner.hosts.spec import SSH_PORT, SshSpec

CONNECT_TIMEOUT = 15
"""Seconds for TCP, the key exchange and the login, each."""

KEEPALIVE = 15
"""Seconds between signs of life on an idle connection."""

STARTS_AT_ONCE = 5
"""sshd_config(5): MaxStartups 10:30:100 drops connections at random once 10 are not yet logged in (of 32
started at once, 5 were refused), and others connect too."""

USER_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


SLOT_TIMEOUT = 60.0
"""Seconds that a login waits for the others, which take at most as long. Then it is tried all the same: the
slots of a process that was frozen are no reason to do nothing."""

_PLACE = "/tmp/sendense-logins"
"""Not in /run/user, which is there only while its user is logged in: a run of cron would not meet one of a
session."""

_SLOT_PAUSE = 0.01
_LONGEST_SLOT_PAUSE = 0.1


@contextmanager
def start_slot(spec: SshSpec, stop: threading.Event) -> Iterator[None]:
    """Held while a connection to that server starts, until it is logged in; a jump host has slots too. Raises
    Interrupted."""
    servers = ([spec.jump.rpartition("@")[2]] if spec.jump else []) + [f"{address(spec)}:{spec.port}"]
    with ExitStack() as held:
        for server in servers:
            held.enter_context(_slot(server, stop))
        yield


@contextmanager
def _slot(server: str, stop: threading.Event) -> Iterator[None]:
    taken = None
    # Late, or without a place for the files: no reason not to log in. sshd refuses what is too much for it.
    with suppress(OSError):
        # The first look is without `until`, whose first call is a costly import.
        taken = _free_slot(server) or until(
            partial(_free_slot, server),
            stop=stop,
            timeout=SLOT_TIMEOUT,
            pause=_SLOT_PAUSE,
            longest_pause=_LONGEST_SLOT_PAUSE,
        )
    try:
        yield
    finally:
        if taken is not None:
            taken.close()


def _free_slot(server: str) -> BinaryIO | None:
    """A lock file that this process holds until it closes it; None if others hold all of them."""
    name = hashlib.sha256(server.encode()).hexdigest()[:16]
    for number in range(STARTS_AT_ONCE):
        slot = (_slot_directory() / f"{name}-{number}").open("ab")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
        else:
            return slot
    return None


def _slot_directory() -> Path:
    """The same for all runs of this user, whatever their environment, and for nobody else's. Raises OSError
    where another user took its name."""
    path = Path(f"{_PLACE}-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotADirectoryError(f"{path} is not a directory of ours alone")
    return path


def known_hosts(spec: SshSpec) -> Path:
    """The file that knows the server if the job pins no key; the jump host's key is always looked up
    there."""
    return Path(spec.known_hosts).expanduser() if spec.known_hosts else USER_KNOWN_HOSTS.expanduser()


def known_name(server: str, port: int) -> str:
    """How known_hosts writes a server, see sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
    return server if port == SSH_PORT else f"[{server}]:{port}"


def address(spec: SshSpec) -> str:
    """The server without the brackets of an IPv6 address."""
    return spec.server.strip("[]")
