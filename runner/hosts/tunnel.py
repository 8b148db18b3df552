"""OpenSSH forwards: local unix sockets that lead to unix sockets of a server, an ssh process for each. Small
work shares one instead, see `runner.hosts.shared_tunnel`.

One ssh process leaves a core idle, since it waits on its channel's window (measured: 3.5 s for 1 GiB through
one, 2.5 s through four), so a disk of which much is moved gets several. Unix sockets at both ends need no
ports and are guarded by file permissions.

ssh reads a configuration of our own and nothing else. It listens once it is logged in; whether the server
allows the forward shows only when something connects (ssh stays up and closes that connection), so the caller
makes its own handshake through each socket, and asks `explain` if that fails.
"""

from __future__ import annotations

import posixpath
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from runner.base.errors import HostError
from runner.base.waiting import NEVER
from runner.hosts import process, ssh_process
from runner.hosts.connect_limits import STARTS_AT_ONCE
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.host import Child, Forwards
from runner.hosts.spec import SshSpec
from runner.hosts.ssh_config import write_config

_NOT_CARRIED = re.compile(r"open failed: .*")
_PROHIBITED = "administratively prohibited"
"""What sshd says of TCP ports that it may not connect to."""

_PORT = re.compile(r"127\.0\.0\.1:\d+")


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
            config = write_config(Path(directory), spec)
        workers = closing.enter_context(ThreadPoolExecutor(STARTS_AT_ONCE, thread_name_prefix="forward"))
        local = [f"{directory}/{number}" for number in range(len(sockets))]
        pairs = zip(local, sockets, strict=True)
        open_one = partial(_open, closing, host, spec, config, stop)
        opening = [workers.submit(open_one, near, far) for near, far in pairs]
        yield Forwards(tuple(local), tuple(future.result() for future in opening))


def checked(far: str) -> str:
    """Itself. Raises ValueError for what no forward can lead to."""
    if not (_PORT.fullmatch(far) or (posixpath.isabs(far) and ":" not in far)):
        raise ValueError(f"not a socket path that ssh -L can name: {far}")
    return far


def ssh_version() -> str:
    """Of the ssh that carries forwards, such as ``OpenSSH_9.2p1 Debian-2+deb12u5``. Raises CommandError."""
    return process.run(("ssh", "-V")).stderr.strip().partition(",")[0]


def explain(host: str, forwards: Forwards) -> HostError | None:
    """Why connections through `forwards` fail, as far as ssh said something; None if it did not. Always
    transient but for a login that was refused: of a forward that it prohibits sshd says no more than of a
    socket nobody listens on (tried with 9.2; "administratively prohibited" is for TCP only)."""
    for child in forwards.children:
        if child.poll() is not None:
            return ssh_process.failure(host, child)
        if words := _NOT_CARRIED.search(ssh_process.said(child).replace("\r", "")):
            return HostError(
                f"the sshd of {host} does not connect to the socket there ({words[0]}): either nothing "
                "listens on it, or sshd_config lacks AllowStreamLocalForwarding yes or has a PermitOpen "
                "or DisableForwarding",
                transient=True,
            )
    return None


def carried(forwards: Forwards) -> bool | None:
    """After a connection through `forwards` failed: whether sshd tried to connect, None if ssh has not said
    yet. Right for TCP ports only; of a unix socket that it prohibits sshd says the same as of one nobody
    listens on."""
    words = "".join(map(ssh_process.said, forwards.children))
    return None if not _NOT_CARRIED.search(words) else _PROHIBITED not in words


def _open(
    closing: ExitStack, host: str, spec: SshSpec, config: str, stop: threading.Event, near: str, far: str
) -> Child:
    options = ("-F", config, "-L", f"{near}:{checked(far)}")
    socket = Path(near)
    return ssh_process.start(
        closing,
        host,
        spec,
        options,
        ready=lambda: ssh_process.listens(socket),
        afresh=lambda: socket.unlink(missing_ok=True),
        stop=stop,
    )
