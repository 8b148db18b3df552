"""A host that changes nothing unless the run's locks are held at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from runner.hosts import Host

CHANGING = frozenset({"run", "popen", "mkdir", "write", "write_sparse", "append", "rename", "remove"})
"""Verbs that may change something there; all others only look, or make what ends with us."""


def guarded(host: Host, hold: Callable[[], None]) -> Host:
    """`hold` raises if a lock is lost. A moment remains between its look and the write; who was frozen in it long enough to
    lose the lock has lost its sessions too, by which it would write."""
    return cast("Host", _Guarded(host, hold))


def bare(host: Host) -> Host:
    """The host itself: for whoever takes the locks."""
    return host._host if isinstance(host, _Guarded) else host


class _Guarded:
    """Hands every verb on as it is called, so that none can drift from the host's own."""

    def __init__(self, host: Host, hold: Callable[[], None]) -> None:
        self._host = host
        self._hold = hold

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._host, name)
        if name not in CHANGING:
            return verb

        def act(*args: Any, **more: Any) -> Any:
            self._hold()
            return verb(*args, **more)

        return act
