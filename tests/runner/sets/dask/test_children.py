"""The children of a worker: each lives as long as its controller asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.sets.dask.children import Children
from runner.sets.dask.messages import Answer, Question
from runner.sets.placement import ChildEnded, Order
from tests.eventually import eventually
from tests.fleet.toys import order

LEASE = 10.0


class Process:
    """A child's, which ends when it is told to."""

    def __init__(self, order: Order, told: Any, said: Any, done: Callable[[ChildEnded], None]) -> None:
        self.order, self.told, self.done = order, told, done
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1

    def kill(self) -> None:
        self.end(137)

    def end(self, exit_code: int = 0) -> None:
        self.done(ChildEnded(self.order.key, exit_code))


class Worker:
    def __init__(self, slots: int = 2) -> None:
        self.now = 0.0
        self.started: list[Process] = []
        self.heard: list[tuple[str, str, str]] = []
        self.children = Children(self._start, self._tell, slots, ("north",), LEASE, clock=lambda: self.now)

    def _start(self, *words: Any) -> Process:
        self.started.append(Process(*words))
        return self.started[-1]

    def _tell(self, controller: str, key: str, *, event: Any = None, said: str | None = None) -> None:
        self.heard.append((controller, key, "over" if event is None and said is None else str(event or said)))

    def ask(self, controller: str = "c1", **more: Any) -> Answer:
        return self.children.exchange(Question(controller=controller, **more))


@pytest.fixture
def worker() -> Worker:
    return Worker()


def orders(tmp_path: Path, *names: str) -> tuple[Order, ...]:
    return tuple(order(tmp_path / name, slices=1) for name in names)


def test_children_are_started_while_slots_are_free(worker: Worker, tmp_path: Path) -> None:
    answer = worker.ask(start=orders(tmp_path, "a", "b", "c"))
    assert (answer.running, answer.taken, answer.slots) == (("toys@a", "toys@b"), 2, 2)
    worker.started[0].end()
    assert worker.ask(start=orders(tmp_path, "c")).running == ("toys@b", "toys@c")


def test_an_end_is_told_until_it_was_heard(worker: Worker, tmp_path: Path) -> None:
    worker.ask(start=orders(tmp_path, "a"))
    worker.started[0].told("toys@a", {"type": "x"})
    worker.started[0].end(4)
    assert [told for *_, told in worker.heard] == ["{'type': 'x'}", "over"]
    for _ in range(2):
        (ended,) = worker.ask().ended
        assert (ended.key, ended.exit_code, ended.stopped) == ("toys@a", 4, False)
    assert worker.ask(heard=("toys@a",)).ended == ()


def test_a_child_asked_for_twice_is_one(worker: Worker, tmp_path: Path) -> None:
    worker.ask(start=orders(tmp_path, "a"))
    worker.ask(start=orders(tmp_path, "a"))
    assert len(worker.started) == 1


def test_children_of_a_silent_controller_are_stopped_and_others_are_not(worker: Worker, tmp_path: Path) -> None:
    worker.ask("c1", start=orders(tmp_path, "a"))
    worker.ask("c2", start=orders(tmp_path, "b"))
    worker.now = LEASE - 1
    worker.ask("c2")
    worker.now = LEASE + 1
    worker.children.expire()
    assert eventually(lambda: [process.stops for process in worker.started] == [1, 0])


def test_a_question_that_comes_after_the_lease_saves_nobody(worker: Worker, tmp_path: Path) -> None:
    """This process was frozen: what the question would keep may have been started elsewhere."""
    worker.ask(start=orders(tmp_path, "a"))
    worker.now = LEASE + 1
    worker.ask(start=orders(tmp_path, "a"))
    assert eventually(lambda: worker.started[0].stops == 1)
    worker.started[0].end(130)
    (ended,) = worker.ask().ended
    assert ended.stopped


def test_the_next_controller_with_the_same_order_has_the_child(worker: Worker, tmp_path: Path) -> None:
    same = orders(tmp_path, "a")
    worker.ask("c1", start=same)
    assert worker.ask("c2").others == (same[0].id,)
    worker.now = LEASE - 1
    assert worker.ask("c2", start=same).running == ("toys@a",)
    worker.now = LEASE + 1
    worker.children.expire()
    assert (len(worker.started), worker.started[0].stops) == (1, 0)


def test_the_next_controller_with_the_same_order_has_the_end_of_the_child(worker: Worker, tmp_path: Path) -> None:
    same = orders(tmp_path, "a")
    worker.ask("c1", start=same)
    worker.started[0].end()
    assert [ended.exit_code for ended in worker.ask("c2", start=same).ended] == [0]


def test_another_order_for_a_child_that_runs_waits(worker: Worker, tmp_path: Path) -> None:
    worker.ask("c1", start=orders(tmp_path, "a"))
    (first,) = orders(tmp_path, "a")
    other = first.model_copy(update={"id": "next night"})
    assert worker.ask("c2", start=(other,)).running == ()
    worker.started[0].end()
    assert worker.ask("c2", start=(other,)).running == ("toys@a",)
    assert len(worker.started) == 2


def test_a_worker_that_ends_takes_no_more_children(worker: Worker, tmp_path: Path) -> None:
    worker.ask(start=orders(tmp_path, "a"))
    worker.children.stop()
    answer = worker.ask(start=orders(tmp_path, "b"))
    assert (answer.running, answer.slots) == (("toys@a",), 0)
    assert eventually(lambda: worker.started[0].stops == 1)
    assert worker.children.untold()
    worker.started[0].end(130)
    worker.ask(heard=("toys@a",))
    assert not worker.children.untold()


def test_a_child_that_cannot_be_started_is_an_end_with_the_reason(tmp_path: Path) -> None:
    def start(*words: Any) -> Process:
        raise SendenseError("no room for a process")

    children = Children(start, lambda *told, **more: None, 2, (), LEASE)
    answer = children.exchange(Question(controller="c", start=orders(tmp_path, "a")))
    assert [ended.error for ended in answer.ended] == ["no room for a process"]
