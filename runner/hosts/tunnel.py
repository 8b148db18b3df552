"""OpenSSH forwards: local unix sockets that lead to unix sockets of a server, one ssh process each.

One ssh process leaves a core idle, since it waits on its channel's window (measured: 3.5 s for 1 GiB through
one, 2.5 s through four), so a disk gets several. Unix sockets at both ends need no ports and are guarded by
file permissions.

Each ssh has a session with a terminal, which does nothing but live as long as ssh does. For such a session
alone OpenSSH sets TCP_NODELAY at both ends (packet.c, ssh_packet_set_interactive); without it what is small
(replies, room in a channel's window) waits for acknowledgements that the other end delays by 40 ms (1 GiB
with 569 MiB of data through two ssh: 1.4 s, and
1.8 s without). A server that gives no terminal carries the forwards all the same.

ssh reads a configuration of our own and nothing else. It listens once it is logged in; whether the server
allows the forward shows only when something connects (ssh stays up and closes that connection), so the caller
makes its own handshake through each socket, and asks `explain` if that fails.
"""

from __future__ import annotations

import os
import posixpath
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from pathlib import Path

from runner.base.errors import HostError
from runner.base.waiting import NEVER, until
from runner.hosts import process
from runner.hosts.connect_limits import (
    CONNECT_TIMEOUT,
    KEEPALIVE,
    STARTS_AT_ONCE,
    address,
    known_hosts,
    start_slot,
)
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.host import Child, Forwards
from runner.hosts.script import load
from runner.hosts.spec import SshSpec

READY_TIMEOUT = 4.0 * CONNECT_TIMEOUT
"""A jump host doubles what a login takes; waiting for a start slot is not part of it."""

STOP_TIMEOUT = 2.0
"""ssh may miss a TERM that comes just before it waits for packets (seen with 9.2), and has nothing to lose by
a KILL."""

_LISTENING = 0x10000
"""SO_ACCEPTCON among the flags of /proc/net/unix, see proc(5)."""

_FINAL = re.compile(
    r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|Permission denied|Too many "
    r"authentication"
    r"|Bad owner or permissions|no such identity|Bad configuration option|jumphost loop"
)
"""Words of ssh after which trying again does not help."""

_NOT_CARRIED = re.compile(r"open failed: .*")
_PROHIBITED = "administratively prohibited"
"""What sshd says of TCP ports that it may not connect to."""

_STAY = load("runner/hosts/scripts/forward-session.sh").line
_SESSION = f"exec sh -c '{_STAY}' sh begun- "
"""16 hex digits follow. Any login shell reads it as the same words, see `runner.hosts.ssh.command_line`."""

_BEGUN = re.compile(r"begun-[0-9a-f]{16}\r?\n")
"""What comes before is the login's: a start-up file may well print that some permission is denied."""

_NO_TERMINAL = "PTY allocation request failed"
"""ssh ends then."""

_PORT = re.compile(r"127\.0\.0\.1:\d+")

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "none",
    "UpdateHostKeys": "no",
    "ConnectTimeout": str(CONNECT_TIMEOUT),
    # Twice what a short outage of the network lasts; then ssh ends, and the tunnel is opened again.
    "ServerAliveInterval": str(KEEPALIVE),
    "ServerAliveCountMax": "3",
    "ExitOnForwardFailure": "yes",
    "StreamLocalBindMask": "0177",
    # A third less CPU than aes-ctr or chacha20; "^" keeps the others behind it.
    "Ciphers": "^aes128-gcm@openssh.com",
}


@contextmanager
def open_forwards(
    host: str, spec: SshSpec, sockets: Sequence[str], stop: threading.Event = NEVER
) -> Iterator[Forwards]:
    """One ssh process for each of `sockets` (absolute paths on the server, or ``127.0.0.1:port``). They
    listen when this returns; all is stopped and unlinked at the end. Raises HostError with ssh's words:
    transient if the server could not be reached; Interrupted if `stop` comes first."""
    with ExitStack() as closing:
        directory = closing.enter_context(process.temporary_directory())
        with translate_os_errors(THIS_MACHINE, directory):
            config = _configure(Path(directory), spec)
        workers = closing.enter_context(ThreadPoolExecutor(STARTS_AT_ONCE, thread_name_prefix="forward"))
        local = [f"{directory}/{number}" for number in range(len(sockets))]
        pairs = zip(local, sockets, strict=True)
        open_one = partial(_open, closing, host, spec, config, stop)
        opening = [workers.submit(open_one, near, far) for near, far in pairs]
        yield Forwards(tuple(local), tuple(future.result() for future in opening))


@lru_cache(maxsize=1)
def ssh_version() -> str:
    """Of the ssh that carries forwards, such as ``OpenSSH_9.2p1 Debian-2+deb12u5``. Raises CommandError."""
    return process.run(("ssh", "-V")).stderr.strip().partition(",")[0]


def explain(host: str, forwards: Forwards) -> HostError | None:
    """Why connections through `forwards` fail, as far as ssh said something; None if it did not. Always
    transient but for a login that was refused: of a forward that it prohibits sshd says no more than of a
    socket nobody listens on (tried with 9.2; "administratively prohibited" is for TCP only)."""
    for child in forwards.children:
        if child.poll() is not None:
            return _failure(host, child)
        if said := _NOT_CARRIED.search(_said(child).replace("\r", "")):
            return HostError(
                f"the sshd of {host} does not connect to the socket there ({said[0]}): either nothing "
                "listens on it, or sshd_config lacks AllowStreamLocalForwarding yes or has a PermitOpen "
                "or DisableForwarding",
                transient=True,
            )
    return None


def carried(forwards: Forwards) -> bool | None:
    """After a connection through `forwards` failed: whether sshd tried to connect, None if ssh has not said
    yet. Right for TCP ports only; of a unix socket that it prohibits sshd says the same as of one nobody
    listens on."""
    said = "".join(map(_said, forwards.children))
    return None if not _NOT_CARRIED.search(said) else _PROHIBITED not in said


def _open(
    closing: ExitStack, host: str, spec: SshSpec, config: str, stop: threading.Event, near: str, far: str
) -> Child:
    if not (_PORT.fullmatch(far) or (posixpath.isabs(far) and ":" not in far)) or ":" in near:
        raise ValueError(f"not a socket path that ssh -L can name: {far}")
    forward = ("ssh", "-F", config, "-L", f"{near}:{far}")
    with start_slot(spec):
        session = (*forward, "-tt", "-e", "none", "server", _SESSION + secrets.token_hex(8))
        child = process.start(session, stop=stop)
        closing.callback(child.stop, STOP_TIMEOUT)
        try:
            _await(host, child, lambda: _BEGUN.search(child.stderr()) is not None, stop)
        except HostError:
            if _NO_TERMINAL not in child.stderr():
                raise
            Path(near).unlink(missing_ok=True)  # it did not stop to do that
            child = process.start((*forward, "-N", "-T", "server"), stop=stop)
            closing.callback(child.stop, STOP_TIMEOUT)
        _await(host, child, lambda: _listens(near), stop)
    return child


def _await(host: str, child: Child, ready: Callable[[], bool], stop: threading.Event) -> None:
    def is_ready() -> bool:
        if not (found := ready()) and child.poll() is not None:
            raise _failure(host, child)
        return found

    def late() -> HostError:
        words = f"ssh to {host} is not ready after {READY_TIMEOUT:.0f} s: {_words(child)}"
        return HostError(words, transient=True)

    until(is_ready, stop=stop, timeout=READY_TIMEOUT, late=late)


def _listens(path: str) -> bool:
    """Whether somebody accepts connections there, without connecting: that would reach the server's
    program."""
    if not Path(path).is_socket():
        return False
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
        if line.endswith(f" {path}"):
            return bool(int(line.split()[3], 16) & _LISTENING)
    return False


def _configure(directory: Path, spec: SshSpec) -> str:
    """The path of a ssh_config(5) for `server`. It also serves the jump host, to which ssh passes it on.
    Files that the user names are linked to, since their names may hold what ssh would expand."""
    server = {"HostName": address(spec), "Port": str(spec.port)}
    if spec.user is not None:
        server["User"] = spec.user
    if spec.jump is not None:
        server["ProxyJump"] = spec.jump
    if spec.host_key is not None:
        (directory / "pinned").write_text(f"pinned {spec.host_key}\n")
        server |= {"HostKeyAlias": "pinned", "UserKnownHostsFile": f"{directory}/pinned"}
    (directory / "known").symlink_to(known_hosts(spec))
    every = _OPTIONS | {
        "UserKnownHostsFile": f"{directory}/known",
        "IdentityAgent": os.environ.get("SSH_AUTH_SOCK", "none"),
    }
    if spec.identity is not None:
        key = Path(spec.identity.file).expanduser().absolute()
        for suffix in ("", ".pub", "-cert.pub"):
            (directory / f"identity{suffix}").symlink_to(f"{key}{suffix}")
        every |= {"IdentityFile": f"{directory}/identity", "IdentitiesOnly": "yes"}
    lines = ["Host server", *map(" ".join, server.items()), "Host *", *map(" ".join, every.items())]
    path = directory / "config"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def _failure(host: str, child: Child) -> HostError:
    words = _words(child)
    return HostError(f"ssh to {host} failed: {words}", transient=not _FINAL.search(words))


def _words(child: Child) -> str:
    lines = [line.strip() for line in _said(child).splitlines() if line.strip()]
    telling = [line for line in lines if _FINAL.search(line)]
    return " / ".join(telling[-1:] or lines[-2:]) or "it said nothing"


def _said(child: Child) -> str:
    """By ssh, as far as that can be told: without what the login printed before our command began."""
    said = child.stderr()
    begun = _BEGUN.search(said)
    return said[begun.end() :] if begun else said
