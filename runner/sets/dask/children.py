"""The children that a worker runs, and until when: each lives as long as its controller asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.sets.child_process import Said
from runner.sets.dask.messages import Answer, Ended, Question
from runner.sets.placement import ChildEnded, Order, Told


class Process(Protocol):
    """A child's, see `runner.sets.child_process.ChildProcess`."""

    def stop(self) -> None:
        """Asks it to stop in order. It may take seconds, if the process is frozen."""

    def kill(self) -> None: ...


class Start(Protocol):
    """Starts one. `told`, `said` and at last `done` are called on threads of its own. Raises
    SendenseError."""

    def __call__(
        self, order: Order, told: Told, said: Said, done: Callable[[ChildEnded], None], /
    ) -> Process: ...


class Tell(Protocol):
    """What a controller hears at once, on any thread: an event of a child, a line of its standard error, or
    neither, behind its last one."""

    def __call__(
        self, controller: str, key: str, *, event: dict[str, JsonValue] | None = None, said: str | None = None
    ) -> None: ...


@dataclass
class _Child:
    order: Order
    controller: str
    process: Process | None = None
    end: ChildEnded | None = None
    """None while it runs."""
    stopped: bool = False


class Children:
    """Used on one thread; only what processes tell comes on others."""

    def __init__(
        self,
        start: Start,
        tell: Tell,
        slots: int,
        hosts: tuple[str, ...],
        lease: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._tell = tell
        self._slots = slots
        self._hosts = hosts
        self._lease = lease
        self._clock = clock
        self._children: dict[str, _Child] = {}
        self._heard: dict[str, float] = {}
        """Controller → when it last asked, by the clock."""
        self._closing = False

    def __len__(self) -> int:
        """How many run."""
        return sum(child.end is None for child in self._children.values())

    def exchange(self, question: Question) -> Answer:
        """Starts what is asked for where a slot is free; what is not among the running ones afterwards did
        not start."""
        # After a pause of this process (SIGSTOP, a machine that slept) the question may be older than the
        # lease: what it would keep alive may have been started elsewhere by now.
        self.expire()
        controller = question.controller
        self._heard[controller] = self._clock()
        for key in question.heard:
            child = self._mine(key, controller)
            if child is not None and child.end is not None:
                del self._children[key]
        for key in question.stop:
            if (child := self._mine(key, controller)) is not None:
                _ask_to_stop(child)
        for order in question.start:
            self._begin(order, controller)
        return self._answer(controller)

    def expire(self) -> None:
        """Stops the children of controllers that were silent for too long, and forgets those that nobody will
        ask about."""
        now = self._clock()
        silent = {name for name, heard in self._heard.items() if now - heard > self._lease}
        for key, child in list(self._children.items()):
            if child.controller not in silent:
                continue
            if child.end is None:
                self._stop(child)
            elif now - self._heard[child.controller] > 10 * self._lease:
                del self._children[key]
        kept = {child.controller for child in self._children.values()}
        self._heard = {
            name: heard for name, heard in self._heard.items() if name in kept or name not in silent
        }

    def stop(self) -> None:
        """All of them, and no other begins."""
        self._closing = True
        for child in self._children.values():
            self._stop(child)

    def untold(self) -> bool:
        """Whether a controller that still asks has not heard of one that ended."""
        now = self._clock()
        return any(now - self._heard[child.controller] <= self._lease for child in self._children.values())

    def kill(self) -> None:
        """For those that do not heed `stop`."""
        for child in self._children.values():
            if child.process is not None and child.end is None:
                child.process.kill()

    def _mine(self, key: str, controller: str) -> _Child | None:
        child = self._children.get(key)
        return child if child is not None and child.controller == controller else None

    def _stop(self, child: _Child) -> None:
        if child.end is None and not child.stopped:
            child.stopped = True
            _ask_to_stop(child)

    def _begin(self, order: Order, controller: str) -> None:
        known = self._children.get(order.key)
        if known is not None and order.id and known.order.id == order.id and not known.stopped:
            # Asked twice, or the controller's successor asks: it is the child that this one would be.
            known.controller = controller
            return
        if known is not None and known.end is None:
            return  # it is being stopped: the next question may begin it
        if self._closing or len(self) >= self._slots:
            return

        child = _Child(order, controller)
        self._children[order.key] = child

        def told(key: str, event: dict[str, JsonValue]) -> None:
            self._tell(child.controller, key, event=event)

        def said(key: str, line: str) -> None:
            self._tell(child.controller, key, said=line)

        def done(ended: ChildEnded) -> None:
            child.end = ended
            self._tell(child.controller, order.key)

        try:
            child.process = self._start(order, told, said, done)
        except SendenseError as error:
            done(ChildEnded(order.key, error.exit_code, error=str(error)))

    def _answer(self, controller: str) -> Answer:
        mine = [child for child in self._children.values() if child.controller == controller]
        running = []
        ended = []
        for child in mine:
            if (end := child.end) is None:
                running.append(child.order.key)
            else:
                ended.append(Ended.of(end, child.order.id, stopped=child.stopped))
        return Answer(
            hosts=self._hosts,
            slots=0 if self._closing else self._slots,
            taken=len(self),
            running=tuple(running),
            others=tuple(
                child.order.id
                for child in self._children.values()
                if child.controller != controller and not child.stopped
            ),
            ended=tuple(ended),
        )


def _ask_to_stop(child: _Child) -> None:
    # On a thread: who asks answers for all other children too, and a frozen process takes its time.
    if child.process is not None:
        threading.Thread(target=child.process.stop, daemon=True).start()
