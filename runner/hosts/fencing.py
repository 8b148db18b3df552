"""A host that changes nothing unless the run's locks are held at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

from runner.base.waiting import NEVER
from runner.hosts.host import Host

CHANGING = frozenset({"run", "popen", "mkdir", "write", "write_sparse", "append", "rename", "remove"})
"""Verbs that may change something there; all others are read-only, or make what ends with us."""


_acting: ContextVar[Callable[[], None] | None] = ContextVar("acting", default=None)
"""How the act asks for the locks that this code runs in, also in a thread that does a part of it."""


def guarded(host: Host, hold: Callable[[], None]) -> Host:
    """`hold` raises if a lock is lost. It is asked before the act, and by hosts that need a while until they
    can act again once they can (`hold_still`): who is frozen between the two may have lost the lock, and his
    sessions are still there if it was broken by force."""
    return cast("Host", _Guarded(host, hold))


def hold_still() -> None:
    """Raises as `hold` does, of the guarded act that this is a part of; of any other it says nothing."""
    if (hold := _acting.get()) is None:
        return
    before = _acting.set(None)  # taking a lock again needs sessions too
    try:
        hold()
    finally:
        _acting.reset(before)


def bare(host: Host) -> Host:
    """The host itself: for the code that takes the locks, which are needed until all is closed."""
    return (host._host if isinstance(host, _Guarded) else host).until(NEVER)


class _Guarded:
    """Hands every verb on as it is called, so that none can drift from the host's own."""

    def __init__(self, host: Host, hold: Callable[[], None]) -> None:
        self._host = host
        self._hold = hold

    def until(self, stop: threading.Event) -> Host:
        return guarded(self._host.until(stop), self._hold)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._host, name)
        if name not in CHANGING:
            return verb

        def act(*args: Any, **more: Any) -> Any:
            self._hold()
            before = _acting.set(self._hold)
            try:
                return verb(*args, **more)
            finally:
                _acting.reset(before)

        return act
