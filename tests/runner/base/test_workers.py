"""Threads that do one piece of work after another."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future

from runner.base import workers
from tests.eventually import eventually


def done_by(name: str) -> tuple[int, str]:
    """The thread that did it, and what it was called meanwhile."""
    found: Future[tuple[int, str]] = Future()
    workers.start(lambda: found.set_result((threading.get_ident(), threading.current_thread().name)), name)
    return found.result(10)


def test_work_that_comes_later_is_done_by_the_same_thread_under_its_own_name() -> None:
    first, name = done_by("first")
    assert name == "first"
    assert eventually(lambda: any(thread.ident == first and thread.name == "idle" for thread in threading.enumerate()))
    assert done_by("second") == (first, "second")


def test_work_that_does_not_end_keeps_no_other_waiting() -> None:
    end = threading.Event()
    workers.start(lambda: end.wait(60), "stuck")
    try:
        assert done_by("other")[1] == "other"
    finally:
        end.set()


def test_nothing_that_work_held_lives_on() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    workers.start(lambda held=held: None, "holds")
    del held
    assert eventually(lambda: gone() is None)


def test_a_fork_has_threads_of_its_own() -> None:
    done_by("before")
    if (child := os.fork()) == 0:
        code = 1
        try:
            code = 0 if done_by("after")[1] == "after" else 1
        finally:
            os._exit(code)  # whatever comes: it is no second pytest
    assert os.waitpid(child, 0)[1] == 0
