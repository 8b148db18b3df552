"""Which child is with which worker: decided from what workers answer, and from when they last did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from runner.base.errors import Interrupted, LockedError
from runner.job.model import LOCAL
from runner.sets.child_process import Said
from runner.sets.dask.messages import Answer, Ended, Question
from runner.sets.placement import ChildEnded, Order, PlacementLostError
from runner.step.items import Claim

ANSWERS = 4.0
"""Seconds: a worker that answered this lately is given children. It is asked each second."""


@dataclass(frozen=True)
class Patience:
    """Seconds."""

    silence: float = 15.0
    """Without an answer of a worker: its children are started again. By then its lease stopped them, if it is
    only cut off; if it is frozen they may live on, and their locks keep the new ones waiting."""
    returns: float = 300.0
    """For a scheduler, the only worker at a node host, or a lock of a lost child: a machine restarts in that
    time."""
    locked: float = 60.0
    """For a lock though none of the child's processes was lost: a controller that died leaves its children
    running for a lease."""


MOVES = 10
"""How many times a child is started again because its worker was lost: it may be what its workers die of."""


@dataclass
class _Worker:
    heard: float
    """When it last answered, or joined."""
    answer: Answer | None = None
    unfit: bool = False
    stop: set[str] = field(default_factory=set)
    heard_of: set[str] = field(default_factory=set)
    """Ended children that it need not tell again."""
    seen: set[str] = field(default_factory=set)
    """Ended children of its last answer whose last event had not come."""


@dataclass
class _Child:
    order: Order
    at: str | None = None
    """The address of its worker."""
    confirmed: bool = False
    """Its worker said that it runs."""
    not_before: float = 0.0
    moves: int = 0
    locked: float | None = None
    """Since when another process holds its lock."""
    pauses: int = 0
    asked_to_stop: bool = False


class Assignments:
    """Not safe from several threads."""

    def __init__(
        self, scheduler: str, said: Said, patience: Patience, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._scheduler = scheduler
        self._patience = patience
        self._clock = clock
        self._said = said
        self._controller = ""
        self._workers: dict[str, _Worker] = {}
        self._children: dict[str, _Child] = {}
        self._ended: list[ChildEnded] = []
        self._over: set[str] = set()
        """Children whose last event came."""
        self._stopping = False
        self._any_worker = self._began = clock()
        """When a worker last answered."""
        self._at_host: dict[str, float] = {}
        """Node host → when a worker there last answered."""
        self._missed: set[str] = set()
        """Node hosts, of which it was said that no worker is there."""

    # What the queue asks.

    def put(self, order: Order) -> None:
        self._children[order.key] = _Child(order)
        self._over.discard(order.key)
        if self._stopping:
            self._end_unplaced()
        else:
            self._assign()

    def room(self) -> int:
        """Raises PlacementLostError."""
        now = self._clock()
        if not self._ended and now - self._any_worker > self._patience.returns:
            raise PlacementLostError(
                f"no worker of the fleet answers, and none did for {self._patience.returns:.0f} s (scheduler "
                f"{self._scheduler}): what runs there stops by itself; run it again to resume"
            )
        waiting = sum(child.at is None for child in self._children.values())
        return max(0, sum(self._free(address) for address in self._workers) - waiting)

    def claims(self, host: str) -> tuple[Claim, ...]:
        if not _is_pinned(host):
            return ()
        slots = sum(
            worker.answer.slots
            for worker in self._workers.values()
            if worker.answer is not None and host in worker.answer.hosts
        )
        resource = f"fleet {self._scheduler} {host}"
        return (Claim(resource, 1, max(1, slots), f"children at once on the workers at {host}"),)

    def stop(self) -> None:
        self._stopping = True
        for child in self._children.values():
            child.asked_to_stop = True
            if child.at is not None and child.at in self._workers:
                self._workers[child.at].stop.add(child.order.key)
        self._end_unplaced()

    @property
    def is_met(self) -> bool:
        """Whether there are workers, and each has answered once or is not ours."""
        return bool(self._workers) and all(
            worker.unfit or worker.answer is not None for worker in self._workers.values()
        )

    @property
    def unfinished(self) -> int:
        return len(self._children)

    def take_ended(self) -> list[ChildEnded]:
        taken, self._ended = self._ended, []
        return taken

    # What the cluster says.

    def connected(self, controller: str) -> None:
        self._controller = controller

    def disconnected(self) -> None:
        """The scheduler is lost, and with it all workers: they stop their children."""
        self.present(())

    def present(self, addresses: Iterable[str]) -> tuple[list[str], list[str]]:
        """The workers that the scheduler knows now: which of them are new, and which are gone."""
        known = set(addresses)
        new, gone = sorted(known - self._workers.keys()), sorted(self._workers.keys() - known)
        for address in new:
            self._workers[address] = _Worker(self._clock())
        for address in gone:
            del self._workers[address]
            self._lose(address, "was lost")
        return new, gone

    def unfit(self, address: str, why: str) -> None:
        """It is no worker of ours, or refuses what we say."""
        if (worker := self._workers.get(address)) is not None and not worker.unfit:
            worker.unfit = True
            self._said("", f"the worker {address} is not used: {why}")

    def over(self, key: str) -> str | None:
        """The last event of a child came; the worker that has more to say, if that is known."""
        self._over.add(key)
        child = self._children.get(key)
        return None if child is None else child.at

    def question(self, address: str) -> Question:
        """The next one for that worker."""
        worker = self._workers[address]
        start = tuple(
            child.order for child in self._children.values() if child.at == address and not child.confirmed
        )
        stop, worker.stop = tuple(sorted(worker.stop)), set()
        heard, worker.heard_of = tuple(sorted(worker.heard_of)), set()
        return Question(controller=self._controller, start=start, stop=stop, heard=heard)

    def unanswered(self, address: str, question: Question) -> None:
        """What came of it is not known: it is asked again."""
        if (worker := self._workers.get(address)) is not None:
            worker.stop.update(question.stop)
            worker.heard_of.update(question.heard)

    def answered(self, address: str, question: Question, answer: Answer) -> None:
        worker = self._workers.get(address)
        if worker is None:
            return
        now = self._clock()
        worker.heard, worker.answer = now, answer
        self._any_worker = now
        self._at_host |= dict.fromkeys(answer.hosts, now)
        for key in answer.running:
            self._runs(key, address, worker)
        worker.seen = {ended.key for ended in answer.ended if not self._has_ended(ended, address, worker)}
        told = {*answer.running, *(ended.key for ended in answer.ended)}
        asked = {order.key for order in question.start}
        for child in self._at(address):
            key = child.order.key
            if key in told:
                continue
            if child.confirmed:
                self._move(child, f"its worker {address} was started anew")
            elif key in asked:
                child.at = None  # no slot was free: it is somebody else's first
        self._assign()

    def look(self) -> None:
        """At the clock: who was silent for too long, and what nobody can do any more."""
        now = self._clock()
        for address, worker in self._workers.items():
            if now - worker.heard > self._patience.silence:
                self._lose(address, f"has not answered for {self._patience.silence:.0f} s")
        if self._stopping:
            self._end_unplaced()
        for child in [child for child in self._children.values() if child.at is None]:
            self._miss(child, now)
        self._assign()

    def _miss(self, child: _Child, now: float) -> None:
        """It waits, perhaps for a worker that is not there."""
        host = child.order.host if _is_pinned(child.order.host) else ""
        seen = self._at_host.get(host, self._began) if host else self._any_worker
        where, option = (f" at {host}", f" --host {host}") if host else ("", "")
        sentence = f"no worker of the fleet{where} answers: start `sendense worker{option}` there"
        if now - seen > self._patience.returns:
            self._fail(child, sentence)
        elif now - seen > ANSWERS and host not in self._missed:
            self._missed.add(host)
            self._said("", f"{sentence}; it is waited for, {self._patience.returns:.0f} s at most")
        elif now - seen <= ANSWERS:
            self._missed.discard(host)

    def _runs(self, key: str, address: str, worker: _Worker) -> None:
        child = self._children.get(key)
        if child is not None and child.at in (None, address):
            child.at, child.confirmed = address, True
            if child.asked_to_stop:
                worker.stop.add(key)
        else:
            worker.stop.add(key)  # it was started again elsewhere, or nobody wants it any longer

    def _has_ended(self, ended: Ended, address: str, worker: _Worker) -> bool:
        """Whether all that there is to know of it is known: its last events come on another way."""
        child = self._children.get(ended.key)
        if child is None or child.order.id != ended.order:
            worker.heard_of.add(ended.key)
            return True
        if ended.key not in self._over and ended.key not in worker.seen:
            return False
        worker.heard_of.add(ended.key)
        self._over.discard(ended.key)
        is_stale = child.at not in (None, address)
        if ended.stopped and ended.exit_code == Interrupted.exit_code and not child.asked_to_stop:
            if not is_stale:
                self._move(child, f"its worker {address} stopped it")
        elif is_stale and ended.exit_code not in (0, 5):
            pass  # what it was started again for goes on
        elif ended.exit_code == LockedError.exit_code and self._is_worth_waiting(child):
            self._wait_for_lock(child)
        else:
            self._finish(child, ended.child_ended())
        return True

    def _is_worth_waiting(self, child: _Child) -> bool:
        limit = self._patience.returns if child.moves else self._patience.locked
        return not child.asked_to_stop and (child.locked is None or self._clock() - child.locked <= limit)

    def _wait_for_lock(self, child: _Child) -> None:
        now = self._clock()
        if child.locked is None:
            child.locked = now
            self._said(child.order.key, "its lock is held, perhaps by a process of its own: it tries again")
        self._unplace(child)
        child.not_before = now + min(30.0, 2.0**child.pauses)
        child.pauses += 1

    def _at(self, address: str) -> list[_Child]:
        return [child for child in self._children.values() if child.at == address]

    def _lose(self, address: str, how: str) -> None:
        for child in self._at(address):
            self._move(child, f"its worker {address} {how}")

    def _move(self, child: _Child, why: str) -> None:
        self._unplace(child)
        child.moves += 1
        if child.moves > MOVES:
            self._fail(child, f"{why}; it was started {MOVES + 1} times: it may be what its workers end of")
        elif not child.asked_to_stop:
            self._said(child.order.key, f"{why}: it is started again, and resumes")

    def _unplace(self, child: _Child) -> None:
        child.at, child.confirmed = None, False

    def _fail(self, child: _Child, why: str) -> None:
        self._finish(child, ChildEnded(child.order.key, 1, error=f"{why}; run it again to resume"))

    def _finish(self, child: _Child, ended: ChildEnded) -> None:
        del self._children[child.order.key]
        self._ended.append(ended)

    def _end_unplaced(self) -> None:
        for child in [child for child in self._children.values() if child.at is None]:
            why = Interrupted().message
            self._finish(child, ChildEnded(child.order.key, Interrupted.exit_code, error=why))

    def _assign(self) -> None:
        """In the order in which they were put, each to where most is free."""
        now = self._clock()
        waiting = [child for child in self._children.values() if child.at is None and child.not_before <= now]
        free = {address: self._free(address) for address in self._workers} if waiting else {}
        others = {order: address for address in free for order in self._others(address)}
        for child in waiting:
            if (there := others.get(child.order.id)) is not None:
                child.at = there  # it has its slot already
                continue
            fitting = [address for address, left in free.items() if left and self._fits(child, address)]
            if fitting:
                child.at = max(fitting, key=lambda address: free[address])
                free[child.at] -= 1

    def _others(self, address: str) -> tuple[str, ...]:
        answer = self._workers[address].answer
        return () if answer is None or not self._is_heard(address) else answer.others

    def _fits(self, child: _Child, address: str) -> bool:
        answer = self._workers[address].answer
        host = child.order.host
        return answer is not None and (not _is_pinned(host) or host in answer.hosts)

    def _free(self, address: str) -> int:
        worker = self._workers[address]
        if worker.answer is None or not self._is_heard(address):
            return 0
        promised = sum(not child.confirmed for child in self._at(address))
        return max(0, worker.answer.slots - worker.answer.taken - promised)

    def _is_heard(self, address: str) -> bool:
        worker = self._workers[address]
        return not worker.unfit and self._clock() - worker.heard <= ANSWERS


def _is_pinned(host: str) -> bool:
    """``local`` is the worker itself, whichever it is."""
    return host not in ("", LOCAL)
