"""One ssh process that is logged in to a server, on our leash.

It has a session with a terminal, which does nothing but live as long as ssh does. For such a session alone
OpenSSH sets TCP_NODELAY at both ends (packet.c, ssh_packet_set_interactive); without it what is small
(replies, room in a channel's window) waits for acknowledgements that the other end delays by 40 ms (1 GiB
with 569 MiB of data through two ssh: 1.4 s, and 1.8 s without). A server that gives no terminal carries
forwards all the same.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.base.errors import HostError
from runner.base.waiting import until
from runner.hosts import process
from runner.hosts.connect_limits import CONNECT_TIMEOUT, start_slot
from runner.hosts.host import Child
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

_STAY = load("runner/hosts/scripts/forward-session.sh").line
_SESSION = f"exec sh -c '{_STAY}' sh begun- "
"""16 hex digits follow. Any login shell reads it as the same words, see `runner.hosts.ssh.command_line`."""

_BEGUN = re.compile(r"begun-[0-9a-f]{16}\r?\n")
"""What comes before is the login's: a start-up file may well print that some permission is denied."""

_NO_TERMINAL = "PTY allocation request failed"
"""ssh ends then."""


def start(
    closing: ExitStack,
    host: str,
    spec: SshSpec,
    options: Sequence[str],
    *,
    ready: Callable[[], bool],
    afresh: Callable[[], object],
    stop: threading.Event,
) -> Child:
    """Logs in with `options`, among them ``-F``, and with our session. Returns once `ready` says that it
    listens where the options make it listen; `afresh` removes what it left there if it has to begin again. It
    ends with `closing`. Raises HostError with ssh's words, Interrupted."""
    with start_slot(spec, stop):
        session = ("ssh", *options, "-tt", "-e", "none", "server", _SESSION + secrets.token_hex(8))
        child = process.start(session, stop=stop)
        closing.callback(child.stop, STOP_TIMEOUT)
        try:
            _await(host, child, lambda: _BEGUN.search(child.stderr()) is not None, stop)
        except HostError:
            if _NO_TERMINAL not in child.stderr():
                raise
            afresh()  # it did not stop to do that
            child = process.start(("ssh", *options, "-N", "-T", "server"), stop=stop)
            closing.callback(child.stop, STOP_TIMEOUT)
        _await(host, child, ready, stop)
    return child


def failure(host: str, child: Child) -> HostError:
    """Why it ended; transient unless its words say that trying again does not help."""
    words = _words(child)
    return HostError(f"ssh to {host} failed: {words}", transient=not _FINAL.search(words))


def said(child: Child) -> str:
    """By ssh, as far as that can be told: without what the login printed before our command began."""
    output = child.stderr()
    begun = _BEGUN.search(output)
    return output[begun.end() :] if begun else output


def listens(path: Path) -> bool:
    """Whether somebody accepts connections there, without connecting: that would reach the server's
    program."""
    if not path.is_socket():
        return False
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
        if line.endswith(f" {path}"):
            return bool(int(line.split()[3], 16) & _LISTENING)
    return False


def _await(host: str, child: Child, ready: Callable[[], bool], stop: threading.Event) -> None:
    def is_ready() -> bool:
        if not (found := ready()) and child.poll() is not None:
            raise failure(host, child)
        return found

    def late() -> HostError:
        words = f"ssh to {host} is not ready after {READY_TIMEOUT:.0f} s: {_words(child)}"
        return HostError(words, transient=True)

    until(is_ready, stop=stop, timeout=READY_TIMEOUT, late=late)


def _words(child: Child) -> str:
    lines = [line.strip() for line in said(child).splitlines() if line.strip()]
    telling = [line for line in lines if _FINAL.search(line)]
    return " / ".join(telling[-1:] or lines[-2:]) or "it said nothing"
