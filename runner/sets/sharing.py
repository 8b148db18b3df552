"""One decision of a runner that shares its limits with others: see what they hold, choose, write, and begin
again if somebody wrote first."""

from __future__ import annotations

from collections.abc import Callable

from runner.base.errors import TransientError
from runner.sets.book import Book, Entry, entry_of
from runner.sets.others import Others
from runner.sets.queue import CountDown, Queue
from runner.sets.slots import Seen, Slots
from runner.sets.waiting import MINE, Waiting

ATTEMPTS = 10
"""Others write too: each attempt is one round trip, and one of all that try succeeds each time."""

FIRST_LOOK = 1.0
LONGEST_PAUSE = 10.0
"""Seconds between two looks of a runner that waits for others, half as long again each time."""

TOLD = 64
"""Waiting requests that others hear of, at most: those that come first."""


class Sharing:
    """Of one runner with all others that name the same place."""

    def __init__(
        self,
        slots: Slots,
        queue: Queue,
        clock: Callable[[], float],
        counts_on: Callable[[], float],
    ) -> None:
        self.slots = slots
        self._queue = queue
        self._others = Others(queue)
        self._clock = clock
        self._counts_on = counts_on
        self._seen: Seen | None = None
        self._holds: dict[str, Entry] = {}
        self._written: Book | None = None
        self._pause = FIRST_LOOK
        self._next_look = 0.0

    @property
    def due(self) -> float:
        """Seconds until it is worth to look again."""
        return max(0.0, self._next_look - self._counts_on())

    @property
    def unread(self) -> str:
        """Why nothing can be admitted, whatever is free; empty if something can."""
        if not self._others.unread:
            return ""
        return (
            f"what runner {self._others.unread[0]} holds cannot be read in {self.slots.where}, so it may be "
            "everything; it counts until that runner has ended"
        )

    def release(self, identity: str) -> None:
        """What is written with the next decision."""
        self._holds.pop(identity, None)

    def decide(self, room: int) -> list[Waiting]:
        """Those of this runner that are admitted now, `room` at most. Raises LockLostError if this runner's
        claims may be void, SendenseError if nobody can tell what others hold."""
        if self._seen is None or not self.due:
            self._next_look = self._counts_on() + self._pause
            self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
            self._seen = self.slots.look()
        for _ in range(ATTEMPTS):
            chosen = self._choose(room, self._seen)
            book = self._book(room - len(chosen))
            if self._written is not None and not self._must_tell(book):
                return chosen
            written, self._seen = self._write(self._seen, book, chosen)
            if written:
                self._written = book
                if chosen:
                    self._pause = FIRST_LOOK
                self._next_look = self._counts_on() + self._pause
                return chosen
        raise TransientError(
            f"other runners keep writing to {self.slots.where}, so nothing could be claimed there"
        )

    def _choose(self, room: int, seen: Seen) -> list[Waiting]:
        self._others.see(seen, self._clock())
        if self._others.unread:
            return []

        mine = CountDown(room)

        def may_begin(owner: str) -> bool:
            return mine.one_more() if owner == MINE else self._others.may_begin(owner)

        chosen = [one for one in self._queue.admit(may_begin) if one.owner == MINE]
        self._holds.update((one.request.id, entry_of(one)) for one in chosen)
        return chosen

    def _write(self, seen: Seen, book: Book, chosen: list[Waiting]) -> tuple[bool, Seen]:
        """They wait again if it cannot be written."""
        written = False
        try:
            written, seen = self.slots.write(seen, book)
        finally:
            if not written:
                for one in chosen:
                    del self._holds[one.request.id]
                    self._queue.put_back(one)
        return written, seen

    def _book(self, room: int) -> Book:
        waits = self._queue.foremost(TOLD) if room > 0 else []
        return Book(
            holder=str(self.slots.holder),
            holds=tuple(self._holds.values()),
            waits=tuple(entry_of(one) for one in waits),
            room=max(0, room) if waits else 0,
        )

    def _must_tell(self, book: Book) -> bool:
        """Who waits is told once there is somebody to hear it."""
        assert self._written is not None
        if book.holds != self._written.holds:
            return True
        return bool(self._seen and self._seen.others) and book != self._written
