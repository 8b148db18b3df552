"""What every way of connecting to a server shares: how many connections start at once, timeouts, host
keys."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

from runner.hosts.spec import SSH_PORT, SshSpec

CONNECT_TIMEOUT = 15
"""Seconds for TCP, the key exchange and the login, each."""

KEEPALIVE = 15
"""Seconds between signs of life on an idle connection."""

STARTS_AT_ONCE = 5
"""sshd_config(5): MaxStartups 10:30:100 drops connections at random once 10 are not yet logged in (of 32
started at once, 5 were refused), and others connect too."""

USER_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


@functools.cache
def _slots(server: str, port: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(STARTS_AT_ONCE)


def start_slot(spec: SshSpec) -> threading.BoundedSemaphore:
    """Held while a connection to that server starts, until it is logged in."""
    return _slots(spec.server, spec.port)


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
