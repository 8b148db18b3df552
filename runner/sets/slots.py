"""The place where runners that share limits say what they hold and what they wait for: a directory on one
host.

Each runner holds one lock there for its life, and has a file beside it. A decision is made by what all files
say, and written only if none of them changed since: compared and replaced by one script under one short lock,
so that a runner that is frozen, or cut off, never keeps the others waiting.
"""

from __future__ import annotations

import json
import posixpath
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from runner.base.errors import HostError, LockLostError, SendenseError
from runner.hosts.held_lock import HeldLock, Holder
from runner.hosts.host import Host
from runner.hosts.script import load
from runner.sets.book import Book, Runner, read_book

DIRECTORY = ".slots"
"""Below the place of records that ``slots: {in: …}`` names: no job's records have a name with a dot."""

ENDING = 60
"""Seconds that children of a runner that was killed have to close their disks: so long its claims count."""

_SLOTS = load("runner/sets/scripts/slots.sh")


@dataclass(frozen=True)
class Seen:
    """What all runners said at one moment."""

    generation: str
    others: tuple[Runner, ...]


class Slots:
    """Of one runner. `open` before anything else; not safe from several threads at once."""

    def __init__(
        self,
        host: Host,
        directory: str,
        holder: Holder,
        ready: Callable[[Host], None] = lambda host: None,
        *,
        ending: int = ENDING,
    ) -> None:
        """`ready` raises if nothing may be made there now: a disk that is not mounted."""
        self.host = host
        self.directory = directory
        self.holder = holder
        self._ready = ready
        self._ending = ending
        self._name = secrets.token_hex(8)
        self._lock = HeldLock(
            host, posixpath.join(directory, f"{self._name}.lock"), holder, f"its slots in {self.where}"
        )

    @property
    def where(self) -> str:
        """``/backup/slots on store``."""
        return f"{self.directory} on {self.host.name}"

    def open(self) -> None:
        """Raises SendenseError."""
        self._ready(self.host)
        self.host.mkdir(self.directory, parents=True)
        self._lock.take()

    def look(self) -> Seen:
        """Raises LockLostError as `write` does, and SendenseError."""
        # Who works for hours writes nothing: a session that broke is made again before its claims are void.
        self._lock.hold()
        return self._ask("read", "")[1]

    def write(self, seen: Seen, book: Book) -> tuple[bool, Seen]:
        """Whether it was written: not if anybody wrote since `seen`. Raises LockLostError if this runner's
        lock is not held, or was not meanwhile: what it held may be another's. Raises SendenseError."""
        self._lock.hold()
        return self._ask(seen.generation, json.dumps(book.to_json_value()))

    def close(self) -> None:
        """Nothing is held any longer. Raises SendenseError."""
        try:
            self.host.remove(posixpath.join(self.directory, f"{self._name}.json"))
        finally:
            self._lock.close()
        self.host.remove(self._lock.path)

    def _ask(self, generation: str, text: str) -> tuple[bool, Seen]:
        content = text.encode("ascii")
        argv = _SLOTS.argv(self.directory, self._name, generation, str(len(content)), str(self._ending))
        output = self.host.run(argv, stdin=content).stdout.decode(errors="replace")
        answer, *lines = output.splitlines() or [""]
        word, _, now = answer.partition(" ")
        if word == "lost":
            words = f"the lock of this runner in {self.where} is free"
            raise LockLostError(words, "another runner", noticed="just now")
        if word not in ("read", "written", "changed"):
            raise HostError(
                f"{self.where} does not answer: {answer or 'it printed nothing'}", transient=word == "busy"
            )
        runners = (_runner(line) for line in lines)
        return word == "written", Seen(now, tuple(one for one in runners if one.name != self._name))


def _runner(line: str) -> Runner:
    name, state, quiet, text = (*line.split(" ", 3), "", "", "")[:4]
    try:
        return Runner(name, state == "held", float(quiet), read_book(text))
    except ValueError as error:
        raise SendenseError(
            f"a line about a runner in the slots place cannot be read: {line[:80]!r}"
        ) from error
