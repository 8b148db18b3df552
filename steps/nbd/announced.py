"""A server on a host that tells by itself when it is ready: each look from here would be a round trip."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from runner.hosts.host import Child, Host
from runner.hosts.script import load

_ANNOUNCE = load("steps/nbd/scripts/announce.sh")


class Announced:
    """A `runner.hosts.host.Child`: the server's own exit code and words, and whether it is ready."""

    def __init__(self, host: Host, argv: Sequence[str], file: str) -> None:
        """Starts it; it is ready once `file` is there, which nothing but the server makes. Raises what
        `Host.popen` does; a program that is not there shows as its exit code."""
        self.argv = tuple(argv)
        self.host = host.name
        # The server does not print it by chance: it may print the names that it was given.
        self._line = f"\nready-{secrets.token_hex(8)}\n"
        self._child: Child = host.popen(_ANNOUNCE.argv(file, self._line.strip(), *argv))
        self._ready = False

    def ready(self) -> bool:
        # It is among the last words, and moves out of them as others follow.
        self._ready = self._ready or self._line in self._child.stderr()
        return self._ready

    def poll(self) -> int | None:
        return self._child.poll()

    def stderr(self) -> str:
        return self._child.stderr().replace(self._line, "")

    def stop(self, timeout: float = 10.0) -> None:
        self._child.stop(timeout)
