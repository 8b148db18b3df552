"""Waiting and trying again: what ends them, and what they say then."""

import threading
import time
from itertools import pairwise

import pytest

from runner.base.errors import Interrupted
from runner.base.waiting import NEVER, Deadline, FirstOf, again, unless_stopped, until
from tests.eventually import eventually


class Refused(Exception):
    pass


class Late(Exception):
    pass


def accepts(error: BaseException) -> bool:
    return isinstance(error, Refused)


def refuse(why: str) -> None:
    raise Refused(why)


class Attempts:
    """An act that fails `times` times and then answers."""

    def __init__(self, times: int) -> None:
        self.numbers: list[int] = []
        self._left = times

    def __call__(self, number: int) -> str:
        self.numbers.append(number)
        if self._left:
            self._left -= 1
            raise Refused(f"attempt {len(self.numbers)}")
        return "done"


def stopped_after(seconds: float) -> threading.Event:
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    return stop


def test_a_wait_ends_with_the_first_true_answer() -> None:
    answers = iter([None, 0, "", "here"])
    assert until(lambda: next(answers), stop=NEVER, timeout=60, late=Late, pause=0.001) == "here"


def test_a_wait_asks_once_though_it_may_take_no_time() -> None:
    assert until(lambda: "here", stop=NEVER, timeout=0, late=Late) == "here"


def test_a_wait_over_its_time_raises_what_the_caller_makes_of_it() -> None:
    with pytest.raises(Late):
        until(lambda: None, stop=NEVER, timeout=0.05, late=Late)


@pytest.mark.parametrize("pause", [0.0, 3600.0], ids=["while-it-asks", "in-a-pause"])
def test_a_stop_ends_a_wait(pause: float) -> None:
    began = time.monotonic()
    with pytest.raises(Interrupted):
        until(lambda: None, stop=stopped_after(0.05), timeout=3600, late=Late, pause=pause)
    assert time.monotonic() - began < 2


def test_what_is_ready_when_the_stop_comes_is_taken() -> None:
    stop = threading.Event()
    stop.set()
    assert until(lambda: "here", stop=stop, timeout=60, late=Late) == "here"
    assert again(Attempts(0), on=accepts, stop=stop) == "done"


def test_pauses_of_a_wait_grow_to_the_longest() -> None:
    asked: list[float] = []

    def ready() -> bool:
        asked.append(time.monotonic())
        return len(asked) == 6

    until(ready, stop=NEVER, timeout=60, late=Late, pause=0.01, longest_pause=0.03)
    pauses = [after - before for before, after in pairwise(asked)]
    assert [round(pause, 2) >= least for pause, least in zip(pauses, (0.01, 0.01, 0.02, 0.03, 0.03), strict=True)]
    assert sum(pauses) < 1


def test_an_act_is_tried_again_after_errors_that_are_accepted() -> None:
    act, told = Attempts(2), []
    again(act, on=accepts, stop=NEVER, attempts=3, first=0.001, before_pause=lambda *said: told.append(said))
    assert act.numbers == [1, 2, 3]
    assert [(str(error), pause, number) for error, pause, number in told] == [
        ("attempt 1", 0.001, 1),
        ("attempt 2", 0.001, 2),
    ]


def test_an_error_that_is_not_accepted_is_raised_at_once() -> None:
    act = Attempts(5)
    with pytest.raises(Refused, match="attempt 1"):
        again(act, on=lambda error: False, stop=NEVER)
    assert act.numbers == [1]


@pytest.mark.parametrize("limit", [{"attempts": 3}, {"timeout": 0.05}], ids=str)
def test_the_last_error_is_raised_when_a_limit_is_reached(limit: dict) -> None:
    act = Attempts(10**9)
    with pytest.raises(Refused) as raised:
        again(act, on=accepts, stop=NEVER, first=0.01, **limit)
    assert str(raised.value) == f"attempt {len(act.numbers)}"
    assert len(act.numbers) > 1


def test_a_first_attempt_that_takes_all_the_time_is_the_last() -> None:
    calls = []

    def slow(number: int) -> None:
        calls.append(number)
        threading.Event().wait(0.1)
        raise OSError

    with pytest.raises(OSError):
        again(slow, on=lambda error: True, stop=threading.Event(), timeout=0.1, first=0.0)
    assert calls == [1]


def test_pauses_between_attempts_grow_to_the_longest() -> None:
    told: list[float] = []
    again(
        Attempts(4),
        on=accepts,
        stop=NEVER,
        first=0.001,
        longest=0.004,
        before_pause=lambda error, pause, number: told.append(pause),
    )
    assert told == [0.001, 0.002, 0.004, 0.004]


def test_progress_begins_the_count_again() -> None:
    act, advances = Attempts(4), iter([False, True, False, False, False])
    with pytest.raises(Refused):
        again(act, on=accepts, stop=NEVER, attempts=3, first=0.001, advanced=lambda: next(advances))
    assert act.numbers == [1, 2, 2, 3]


def test_a_stop_in_a_pause_between_attempts_is_told_with_what_failed() -> None:
    began = time.monotonic()
    act = Attempts(5)
    with pytest.raises(Interrupted) as raised:
        again(act, on=accepts, stop=stopped_after(0.05), first=3600)
    assert (str(raised.value.__cause__), act.numbers) == ("attempt 1", [1])
    assert time.monotonic() - began < 2


def test_nothing_is_tried_again_after_the_stop() -> None:
    stop = threading.Event()
    stop.set()
    act = Attempts(5)
    told: list[int] = []
    with pytest.raises(Interrupted) as stopped:
        again(act, on=accepts, stop=stop, before_pause=lambda error, pause, number: told.append(number))
    assert isinstance(stopped.value.__cause__, Refused)
    assert (act.numbers, told) == ([1], [])


def test_work_that_nobody_can_end_is_left_and_what_it_still_gives_is_dropped() -> None:
    ends, dropped = threading.Event(), []

    def work() -> str:
        ends.wait(60)
        return "a session"

    with pytest.raises(Interrupted):
        unless_stopped(work, stopped_after(0.05), drop=dropped.append)
    assert dropped == []
    ends.set()
    assert eventually(lambda: dropped == ["a session"])


@pytest.mark.parametrize("stop", [threading.Event(), NEVER], ids=["may-be-stopped", "never-stopped"])
def test_work_that_is_not_stopped_gives_what_it_gives(stop: threading.Event) -> None:
    assert unless_stopped(lambda: "a session", stop, drop=lambda session: pytest.fail("it is wanted")) == "a session"
    with pytest.raises(Refused, match="no session"):
        unless_stopped(lambda: refuse("no session"), stop)


def test_a_deadline_is_a_stop_that_comes_by_itself() -> None:
    stop = Deadline(0.05)
    assert not stop.is_set()
    assert stop.wait(3600)
    assert stop.is_set()
    assert not Deadline(3600).wait(0.001)


def test_nothing_can_set_the_stop_of_what_is_never_stopped() -> None:
    with pytest.raises(RuntimeError):
        NEVER.set()
    assert not NEVER.is_set()


@pytest.mark.parametrize("which", [0, 1])
def test_the_first_of_two_stops_ends_a_wait(which: int) -> None:
    stops = threading.Event(), threading.Event()
    stop = FirstOf(*stops)
    assert not stop.is_set() and not stop.wait(0.001)
    threading.Timer(0.01, stops[which].set).start()
    assert stop.wait(30) and stop.is_set()
