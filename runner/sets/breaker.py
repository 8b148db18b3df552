"""A cause that many children share: a refused login, a repository that is gone, no room. It is tried again
by one child at a time and told once, instead of once by each of them.

A vCenter locks an account after five wrong passwords within three minutes (vCenter Single Sign-On, lockout
policy), which then keeps people out too: so few children at a time are on their way to their first result,
and a refused login is tried twice in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from runner.base.units import MINUTE, human_seconds

UNPROVEN = 2
"""Children at once that have not got anywhere yet: as many may fail before anybody knows why."""

LOGINS = 2
"""Refused logins in all, while the cause lasts."""

FIRST_PAUSE = 1 * MINUTE
LONGEST_PAUSE = 15 * MINUTE
TRIES = 8
"""Of one child each: an hour and a quarter, in which a vCenter restarts and a disk is mounted."""

LOGIN = "login "
"""Begins the cause of an account that was refused."""

_GOT_ON = ("node-finished", "node-kept")
_COPIES = "node-progress"


@dataclass(slots=True)
class _Open:
    cause: str
    sentence: str
    tries: int
    """Children that met it, those at once counted once."""
    refused: int
    """Children that met it, each."""
    until: float
    """When one may try again."""
    probe: str = ""
    """The child that does."""


class Breaker:
    """Of one runner. Pure but for `clock`, seconds that count on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unproven: set[str] = set()
        self._open: _Open | None = None
        self._notices: list[str] = []

    @property
    def given_up(self) -> tuple[str, str] | None:
        """The cause and its sentence, once it is tried no more."""
        found = self._open
        if found is None:
            return None
        spent = found.refused >= LOGINS if found.cause.startswith(LOGIN) else found.tries >= TRIES
        return (found.cause, found.sentence) if spent else None

    def notices(self) -> list[str]:
        """What to tell since the last call."""
        told, self._notices = self._notices, []
        return told

    def room(self, room: int) -> int:
        """How many of those that could be started may be."""
        if self._open is None:
            return min(room, UNPROVEN - len(self._unproven))
        waits = self._open.probe or self.given_up or self._unproven or self._clock() < self._open.until
        return 0 if waits else min(room, 1)

    def due(self) -> float:
        """Seconds until one may try again; infinite while none has to wait for that."""
        if self._open is None or self._open.probe or self.given_up:
            return math.inf
        return max(0.0, self._open.until - self._clock())

    def why(self) -> str:
        """What keeps all of them from beginning; empty if nothing does."""
        found = self._open
        if found is None:
            return ""
        if found.probe:
            return f"one that tries whether this is over: {found.sentence}"
        return f"another try in {human_seconds(self.due())}: {found.sentence}"

    def began(self, identity: str) -> None:
        self._unproven.add(identity)
        if self._open is not None:
            self._open.probe = identity

    def told(self, identity: str, event: Mapping[str, JsonValue]) -> None:
        """What a child does: one that finished a node was let in; one that copies found its repository."""
        kind = event.get("type")
        if kind in _GOT_ON or kind == _COPIES:
            self._unproven.discard(identity)
            found = self._open
            is_login = found is not None and found.cause.startswith((LOGIN, "vcenter "))
            if found is not None and found.probe == identity and (is_login or kind == _COPIES):
                self._close()

    def ended(self, identity: str, causes: Mapping[str, str], others: int) -> bool:
        """`causes`: why it failed, where others would fail of the same, with a sentence each; `others`: how
        many wait. Whether it is to be tried again."""
        self._unproven.discard(identity)
        found = self._open
        was_probe = found is not None and found.probe == identity
        if not causes:
            if was_probe:
                self._close()
            return False
        cause, sentence = next(iter(causes.items()))
        if found is None:
            self._open = _Open(cause, sentence, 1, 1, self._clock() + FIRST_PAUSE)
            self._notices.append(
                f"{sentence}: {others} more wait, and one of them tries again in {human_seconds(FIRST_PAUSE)}"
            )
        elif was_probe:
            found.tries, found.refused, found.probe = found.tries + 1, found.refused + 1, ""
            pause = min(FIRST_PAUSE * 2 ** (found.tries - 1), LONGEST_PAUSE)
            found.cause, found.sentence, found.until = cause, sentence, self._clock() + pause
        elif cause == found.cause:
            found.refused += 1
        return self.given_up is None

    def _close(self) -> None:
        assert self._open is not None
        self._notices.append(f"this is over: {self._open.sentence}")
        self._open = None


def causes_of(document: Mapping[str, object]) -> dict[str, str]:
    """Of a run that failed, by what `run --json` says of it."""
    shared = document.get("shared")
    return {str(cause): str(text) for cause, text in shared.items()} if isinstance(shared, dict) else {}
