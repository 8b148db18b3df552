"""Unix sockets on another machine that lead to unix sockets here: what runs there reads what only we reach.

One ssh process carries all of them, as OpenSSH's reverse forwards. They stand in a 0700 directory of the
account there, which goes with us, so that nobody else connects to them; sshd gives them mode 0600 as well
(sshd_config(5), StreamLocalBindMask). ssh asks for a forward before it asks for a session and ends if sshd
refuses one (ExitOnForwardFailure), so all of them are there once the session has begun.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.base.errors import HostError
from runner.base.waiting import NEVER
from runner.hosts import process, ssh_process
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.host import Host
from runner.hosts.spec import SshSpec
from runner.hosts.ssh_config import write_config

_REFUSED = "remote port forwarding failed"
"""What ssh says where sshd forbids the socket, or cannot make it (clientloop and ssh.c,
`ssh_confirm_remote_forward`; tried with 9.2)."""


class LendingForbidden(HostError):
    """By DisableForwarding, AllowStreamLocalForwarding no or local, a `restrict` of the key, or
    AllowTcpForwarding no or local, though no TCP port is asked for (each tried with OpenSSH 9.2)."""

    def __init__(self, host: Host) -> None:
        self.found = f"the sshd of {host.name} makes no unix sockets that lead here for user {host.account}"
        super().__init__(
            f"{self.found}: add to its sshd_config `DisableForwarding no`, `AllowTcpForwarding yes`, "
            "`PermitListen none` and `AllowStreamLocalForwarding yes`, and reload it; a key with `restrict` "
            "needs `port-forwarding` too"
        )


@contextmanager
def lend(
    host: Host, spec: SshSpec, sockets: Sequence[str], stop: threading.Event = NEVER
) -> Iterator[tuple[str, ...]]:
    """See `runner.hosts.host.Host.lend`."""
    with ExitStack() as closing:
        there = closing.enter_context(host.tempdir())
        here = closing.enter_context(process.temporary_directory())
        far = tuple(posixpath.join(there, str(number)) for number in range(len(sockets)))
        with translate_os_errors(THIS_MACHINE, here):
            config = write_config(Path(here), spec)
            for number, near in enumerate(sockets):
                # ssh expands what stands in a path (ssh_config(5), TOKENS), and takes none over 107 bytes.
                Path(here, str(number)).symlink_to(Path(near).absolute())
        pairs = [("-R", f"{path}:{here}/{posixpath.basename(path)}") for path in far]
        options = ("-F", config, *(word for pair in pairs for word in pair))
        try:
            ssh_process.start(
                closing,
                host.name,
                spec,
                options,
                ready=lambda: all(map(host.exists, far)),
                afresh=lambda: host.remove(*far),
                stop=stop,
            )
        except HostError as error:
            if _REFUSED in error.message:
                raise LendingForbidden(host) from error
            raise
        yield far
