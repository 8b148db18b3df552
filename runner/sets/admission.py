"""Which of a set's children may begin: the queue, the place where other runners say what they hold, room, and
causes that many children share."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import JsonValue

from runner.base.errors import LockLostError, SendenseError
from runner.base.units import human_bytes
from runner.sets.breaker import UNPROVEN, Breaker
from runner.sets.queue import CountDown, Queue
from runner.sets.request import Request
from runner.sets.room import UNREACHED, Rooms
from runner.sets.sharing import Sharing
from runner.sets.slots import Slots
from runner.sets.waiting import MINE, Lack, Waiting
from runner.step.items import Room

SLOTS = "slots place"
"""The cause that all children share while nobody can tell what others hold."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is no longer in the queue, though it was never admitted."""

    request: Request
    why: str
    """A sentence: there is no room, or what keeps all of them from beginning."""
    shared: str
    """The cause that it shares with others: ``login vcenter prod``; empty if it is its own."""


class Admission:
    """Safe from any thread. To be entered and closed, as a context manager does it: its claims are void after
    that.

    A request that was put is admitted (`admit`), refused with a reason (`refused`), or waits
    (`waits_for`): none is dropped. What was admitted is to be given back by `release` with what came of it.
    """

    def __init__(
        self,
        slots: Slots | None = None,
        rooms: Sequence[Room] = (),
        *,
        clock: Callable[[], float] = time.time,
        counts_on: Callable[[], float] = time.monotonic,
    ) -> None:
        """`slots`: None where no limit is set. `clock`: seconds since the epoch; `counts_on`: seconds that no
        set clock changes."""
        self._clock = clock
        self._counts_on = counts_on
        self._queue = Queue()
        self._sharing = None if slots is None else Sharing(slots, self._queue, clock, counts_on)
        self._rooms = Rooms(rooms, self._queue, counts_on)
        self._breaker = Breaker(counts_on)
        self._admitted: dict[str, Request] = {}
        self._refused: list[Refused] = []
        self._trouble: SendenseError | None = None
        self._trouble_since = math.inf
        self._changing = threading.RLock()
        self._changed = threading.Event()

    def __enter__(self) -> Self:
        """Raises SendenseError if the slots place cannot be used."""
        if self._sharing is not None:
            self._sharing.slots.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._sharing is not None:
            # What the lock leaves behind is void, and the next runner removes it.
            with contextlib.suppress(SendenseError):
                self._sharing.slots.close()

    def put(self, *requests: Request) -> None:
        with self._changing:
            now = self._clock()
            for request in requests:
                self._enter(request, now)
        self._changed.set()

    def withdraw(self, identities: Iterable[str]) -> None:
        """They are wanted no longer: the run was told to stop."""
        with self._changing:
            for identity in identities:
                self._queue.withdraw(identity)
                self._breaker.withdraw(identity)

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changing:
            return self._queue.count(MINE) + self._breaker.count

    def admit(self, room: int) -> list[Request]:
        """Those that are to be started now, at most `room` of them; they hold what they need until
        `release`."""
        with self._changing:
            self._changed.clear()
            for kept in self._breaker.freed():
                self._enter(kept.request, kept.since)
            for kept in self._breaker.tries():
                self._queue.put(kept.request, kept.since)
            if self.waiting and self._breaker.room(1):
                self._rooms.measure()
            chosen = self._choose(self._breaker.room(room))
            for one in chosen:
                self._admitted[one.request.id] = one.request
                self._breaker.began(one.request)
            self._refuse_hopeless()
            return [one.request for one in chosen]

    def told(self, identity: str, event: Mapping[str, JsonValue]) -> None:
        """An event of that child, as events.jsonl has it: that it got anywhere lets more begin."""
        with self._changing:
            before = self._breaker.room(UNPROVEN)
            self._breaker.told(identity, event)
            if self._breaker.room(UNPROVEN) > before:
                self._changed.set()

    def release(
        self, identity: str, causes: Mapping[str, str] | None = None, *, failed: bool = False
    ) -> bool:
        """The child ended. `causes`: those of its failure that others would meet as well, see
        `runner.sets.breaker.causes_of`; `failed`: it may hold a snapshot. True if it waits again, to be tried
        once the causes are over: nothing came of it yet."""
        with self._changing:
            request = self._admitted.pop(identity)
            self._queue.release(identity)
            if self._sharing is not None:
                self._sharing.release(identity)
            again = self._breaker.ended(request, causes or {})
            if failed or causes:
                self._rooms.expire()
            if causes:
                self._keep_concerned()
            if again:
                self._enter(request, self._clock())
            if not self.waiting:
                self._choose(0)  # others hear of it now
        self._changed.set()
        return again

    def refused(self) -> list[Refused]:
        """Those that wait no longer, since the last call; each is a failure of its own."""
        with self._changing:
            found, self._refused = self._refused, []
            return found

    def notices(self) -> list[str]:
        """Sentences for people, since the last call: what stops all of them, and that it is over."""
        with self._changing:
            return self._breaker.notices()

    def waits_for(self, identity: str) -> str:
        """In words: ``1 of 8 disks read in vCenter prod at once (7 in use)``; empty if it does not wait."""
        with self._changing:
            if why := self._breaker.why(identity):
                return why
            if not self._queue.is_waiting(identity):
                return ""
            if self._trouble is not None:
                return f"the place where runners share limits: {self._trouble}"
            if self._sharing is not None and self._sharing.unread:
                return self._sharing.unread
            return self._in_words(self._queue.waits_for(identity))

    def due(self) -> float:
        """Seconds until `admit` may answer otherwise without a `put`, `told` or `release` of ours; infinite
        where nothing but these can change it."""
        with self._changing:
            if not self.waiting:
                return math.inf
            others = math.inf if self._sharing is None else self._sharing.due
            return min(others, self._breaker.due(), self._rooms.due())

    def wait(self, timeout: float) -> None:
        """Until `admit` may answer otherwise, `timeout` seconds at most."""
        self._changed.wait(min(timeout, self.due()))

    # Within.

    def _enter(self, request: Request, since: float) -> None:
        if not self._breaker.keep(request, since):
            self._queue.put(request, since)

    def _keep_concerned(self) -> None:
        """Those in the queue that would meet what is broken wait outside."""
        for one in [one for one in self._queue.waiting() if self._breaker.concerns(one.request)]:
            self._queue.withdraw(one.request.id)
            self._breaker.keep(one.request, one.since)

    def _choose(self, room: int) -> list[Waiting]:
        if self._sharing is None:
            return self._queue.admit(CountDown(room).one_more)
        try:
            chosen = self._sharing.decide(room)
        except LockLostError as error:
            self._refuse_all(error)
        except SendenseError as error:
            if self._trouble is None:
                self._trouble_since = self._counts_on()
            self._trouble = error
            if not error.transient or self._counts_on() - self._trouble_since > UNREACHED:
                self._refuse_all(error)
        else:
            self._trouble = None
            return chosen
        return []

    def _refuse_hopeless(self) -> None:
        for cause, sentence, requests in self._breaker.given_up():
            self._refuse(requests, sentence, cause)
        for resource in self._rooms:
            # Who holds it may free some by its end; what does not answer may later.
            if self._queue.is_held(resource) or self._rooms.may_answer(resource):
                continue
            while (one := self._queue.first_at(resource)) is not None:
                lack = self._queue.lack_of(one, resource)
                if lack is None or lack.reserved:
                    break
                self._refuse([one.request], self._no_room(lack), f"no room: {lack.claim.what}")

    def _no_room(self, lack: Lack) -> str:
        if (failure := self._rooms.failures.get(lack.claim.resource)) is not None:
            return f"nobody can tell whether there is room: {failure}"
        return f"it waits for {lack.claim.what}, and nothing will free any"

    def _refuse_all(self, error: SendenseError) -> None:
        self._refuse([one.request for one in self._queue.waiting()], error.message, SLOTS)

    def _refuse(self, requests: Iterable[Request], why: str, shared: str) -> None:
        for request in requests:
            self._queue.withdraw(request.id)
            self._breaker.withdraw(request.id)
            self._refused.append(Refused(request, why, shared))

    def _in_words(self, lack: Lack | None) -> str:
        if lack is None:
            return "a free place to run"
        claim = lack.claim
        if claim.resource in self._rooms:
            failure = self._rooms.failures.get(claim.resource)
            return claim.what if failure is None else f"{claim.what}, which nobody can tell now: {failure}"
        words = human_bytes if claim.bytes else str
        limit = words(claim.limit)
        share = f"all {limit}" if claim.divided else f"{words(claim.amount)} of {limit}"
        used = (
            "kept for one that waits longer" if lack.reserved else f"{words(claim.limit - lack.left)} in use"
        )
        return f"{share} {claim.what} ({used})"
