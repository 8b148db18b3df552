"""A cause that many children share: a refused login, a repository that is gone, no room. It is told once,
and tried again by one child at a time; those that would meet it wait outside the queue meanwhile, where
nothing is kept for them. All others start as before.

A vCenter locks an account after five wrong passwords within three minutes (vCenter Single Sign-On, lockout
policy), which then keeps people out too: so few children at a time are on their way to their first result,
and a refused login is tried twice in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from runner.base.units import MINUTE, human_seconds
from runner.sets.request import Request

UNPROVEN = 2
"""Children at once that have not got anywhere yet: as many may fail before anybody knows why."""

LOGINS = 2
"""Refused logins in all, while the cause lasts."""

FIRST_PAUSE = 1 * MINUTE
LONGEST_PAUSE = 15 * MINUTE
TRIES = 8
"""Of one child each, within an hour of pauses: a vCenter restarts in that time, and a disk is mounted."""

LOGIN = "login "
"""Begins the cause of an account that was refused."""

NO_ROOM = "no room "
"""Begins that of what is full: who still copies has not shown that there is room."""

_GOT_ON = ("node-finished", "node-kept")
_COPIES = "node-progress"


@dataclass(frozen=True, slots=True)
class Kept:
    """A request outside the queue."""

    request: Request
    since: float
    """When it was put, as `Request.age` was told then; seconds since the epoch."""

    @property
    def key(self) -> tuple[int, float, str]:
        """As the queue orders them."""
        return (self.request.priority, self.since - self.request.age, self.request.id)


@dataclass(slots=True)
class _Open:
    cause: str
    sentence: str
    met_by: Request
    until: float
    """When one may try again."""
    tries: int = 1
    """Children that met it, those at once counted once."""
    refused: int = 1
    """Children that met it, each."""
    probe: str = ""
    """The child that tries, in the queue or begun."""
    kept: dict[str, Kept] = field(default_factory=dict)
    is_told: bool = False

    @property
    def is_spent(self) -> bool:
        """Whether it is tried no more."""
        return self.refused >= LOGINS if self.cause.startswith(LOGIN) else self.tries >= TRIES

    def concerns(self, request: Request) -> bool:
        """Whether that one would meet it too."""
        if self.cause in self.met_by.needs:
            return self.cause in request.needs
        return request.job == self.met_by.job or self.cause in request.needs


class Breaker:
    """Of one runner. Pure but for `clock`, seconds that count on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unproven: dict[str, Request] = {}
        self._open: dict[str, _Open] = {}
        """By cause, in the order in which they were met."""
        self._freed: list[Kept] = []
        self._notices: list[str] = []

    @property
    def count(self) -> int:
        """How many wait outside the queue."""
        return sum(len(one.kept) for one in self._open.values()) + len(self._freed)

    def room(self, room: int) -> int:
        """How many of those that could be started may be."""
        return max(0, min(room, UNPROVEN - len(self._unproven)))

    def keep(self, request: Request, since: float) -> bool:
        """Whether it is to wait here and not in the queue, since it would meet what is broken."""
        if (found := self._met_by(request)) is None:
            return False
        self._forget_probe(request.id)
        found.kept[request.id] = Kept(request, since)
        return True

    def concerns(self, request: Request) -> bool:
        """Whether one in the queue is to wait here: it is not the one that tries."""
        found = self._met_by(request)
        return found is not None and (found.is_spent or found.probe != request.id)

    def withdraw(self, identity: str) -> Request | None:
        """None if it does not wait here."""
        self._forget_probe(identity)
        for one in self._open.values():
            if (kept := one.kept.pop(identity, None)) is not None:
                return kept.request
        freed = next((kept for kept in self._freed if kept.request.id == identity), None)
        if freed is None:
            return None
        self._freed.remove(freed)
        return freed.request

    def freed(self) -> list[Kept]:
        """Those that wait here no longer: what they waited for is over."""
        freed, self._freed = self._freed, []
        return freed

    def tries(self) -> list[Kept]:
        """Those that are to try now whether it is over, one for each cause; they go into the queue."""
        found = []
        for cause in self._due_now():
            if any(map(cause.concerns, self._unproven.values())):
                continue
            if able := [kept for kept in cause.kept.values() if self._met_by(kept.request) is cause]:
                first = min(able, key=lambda kept: kept.key)
                del cause.kept[first.request.id]
                cause.probe = first.request.id
                found.append(first)
        return found

    def _due_now(self) -> Iterator[_Open]:
        now = self._clock()
        return (one for one in self._open.values() if not one.is_spent and not one.probe and one.until <= now)

    def given_up(self) -> list[tuple[str, str, list[Request]]]:
        """Causes that are tried no more, with their sentences, and who waited for each."""
        found = []
        for spent in [one for one in self._open.values() if one.is_spent]:
            # Also those that wait for another cause and would meet this one then.
            concerned = [
                kept.request
                for one in self._open.values()
                for kept in one.kept.values()
                if spent.concerns(kept.request)
            ]
            for request in concerned:
                self.withdraw(request.id)
            if concerned:
                found.append((spent.cause, spent.sentence, concerned))
        return found

    def notices(self) -> list[str]:
        """What to tell since the last call."""
        for one in self._open.values():
            if not one.is_told:
                one.is_told = True
                self._notices.append(self._begins(one))
        told, self._notices = self._notices, []
        return told

    def _begins(self, one: _Open) -> str:
        if one.is_spent or not one.kept:
            return one.sentence
        tried = "and once only" if one.cause.startswith(LOGIN) else "then less and less often for an hour"
        wait = "1 waits" if len(one.kept) == 1 else f"{len(one.kept)} wait"
        return f"{one.sentence}: {wait}, and one tries again in {human_seconds(FIRST_PAUSE)}, {tried}"

    def due(self) -> float:
        """Seconds until one may try again; infinite while none has to wait for that."""
        times = [one.until for one in self._open.values() if one.kept and not (one.probe or one.is_spent)]
        if self._freed:
            return 0.0
        if not times:
            return math.inf
        # Once it is time, only the end of a child keeps one from trying.
        left = min(times) - self._clock()
        return left if left > 0 else math.inf

    def why(self, identity: str) -> str:
        """What keeps that one from the queue; empty if nothing does."""
        found = next((one for one in self._open.values() if identity in one.kept), None)
        if found is None:
            return ""
        left = found.until - self._clock()
        if found.probe or left <= 0:
            return f"one that tries whether this is over: {found.sentence}"
        return f"another try in {human_seconds(left)}: {found.sentence}"

    def began(self, request: Request) -> None:
        self._unproven[request.id] = request

    def told(self, identity: str, event: Mapping[str, JsonValue]) -> None:
        """What a child does: one that finished a node was let in; one that copies found its repository."""
        kind = event.get("type")
        if kind not in _GOT_ON and kind != _COPIES:
            return
        self._unproven.pop(identity, None)
        for one in [one for one in self._open.values() if one.probe == identity]:
            is_let_in = one.cause.startswith((LOGIN, "vcenter "))
            if is_let_in or (kind == _COPIES and not one.cause.startswith(NO_ROOM)):
                self._close(one)

    def ended(self, request: Request, causes: Mapping[str, str]) -> bool:
        """`causes`: why it failed, where others would fail of the same, with a sentence each. Whether it is
        to be tried again."""
        self._unproven.pop(request.id, None)
        tried = [one for one in self._open.values() if one.probe == request.id]
        if not causes:
            for one in tried:
                self._close(one)
            return False
        cause = next((cause for cause in causes if cause in self._open), next(iter(causes)))
        for one in tried:
            one.probe, one.tries, one.sentence = "", one.tries + 1, causes[cause]
            one.until = self._clock() + min(FIRST_PAUSE * 2 ** (one.tries - 1), LONGEST_PAUSE)
        if (found := self._open.get(cause)) is None:
            until = self._clock() + FIRST_PAUSE
            found = self._open[cause] = _Open(cause, causes[cause], request, until)
        else:
            found.refused, found.sentence = found.refused + 1, causes[cause]
        return not found.is_spent

    def _met_by(self, request: Request) -> _Open | None:
        """The first of the open ones that it would meet."""
        return next((one for one in self._open.values() if one.concerns(request)), None)

    def _forget_probe(self, identity: str) -> None:
        for one in self._open.values():
            if one.probe == identity:
                one.probe = ""

    def _close(self, one: _Open) -> None:
        del self._open[one.cause]
        self._freed += one.kept.values()
        if one.is_told:
            self._notices.append(f"this is over: {one.sentence}")


def causes_of(document: Mapping[str, object]) -> dict[str, str]:
    """Of a run that failed, by what `run --json` says of it."""
    shared = document.get("shared")
    return {str(cause): str(text) for cause, text in shared.items()} if isinstance(shared, dict) else {}
