"""A cause that many children share: it is tried by one of them at a time, and told once."""

import pytest

from runner.sets.admission import Admission
from runner.sets.breaker import FIRST_PAUSE, LONGEST_PAUSE, TRIES, Breaker, causes_of
from runner.sets.request import Request
from runner.step.items import Claim

LOGIN = {"login vcenter prod": "logging in at prod failed: wrong user name or password"}
GONE = {"repository /backup on store": "/backup on store is not a repository: mount its disk"}
FINISHED = {"type": "node-finished"}
COPIES = {"type": "node-progress"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def test_no_more_than_two_are_on_their_way_to_a_first_result(breaker: Breaker):
    assert breaker.room(8) == 2
    breaker.began("a")
    breaker.began("b")
    assert breaker.room(8) == 0
    breaker.told("a", {"type": "node-started"})
    assert breaker.room(8) == 0
    breaker.told("a", FINISHED)
    assert breaker.room(8) == 1


def test_a_refused_login_is_tried_twice_in_all(breaker: Breaker, clock: Clock):
    breaker.began("a")
    assert breaker.ended("a", LOGIN, 387)
    assert breaker.room(8) == 0
    clock.now += FIRST_PAUSE
    assert breaker.room(8) == 1
    breaker.began("a")
    assert not breaker.ended("a", LOGIN, 387)
    assert breaker.given_up == next(iter(LOGIN.items()))
    clock.now += 24 * 3600
    assert breaker.room(8) == 0


def test_two_refused_at_once_are_both_tries(breaker: Breaker):
    breaker.began("a")
    breaker.began("b")
    assert breaker.ended("a", LOGIN, 386)
    assert not breaker.ended("b", LOGIN, 387)
    assert breaker.given_up is not None


def test_one_at_a_time_tries_again_with_growing_pauses_until_it_is_given_up(breaker: Breaker, clock: Clock):
    breaker.began("a")
    assert breaker.ended("a", GONE, 9)
    pauses = []
    while breaker.given_up is None:
        pauses.append(breaker.due())
        assert breaker.room(8) == 0
        clock.now += breaker.due()
        assert breaker.room(8) == 1
        breaker.began("a")
        assert breaker.room(8) == 0
        breaker.ended("a", GONE, 9)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert len(pauses) == TRIES - 1 and max(pauses) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("causes", "event", "is_over"),
    [
        pytest.param(LOGIN, FINISHED, True, id="a node that is done was let in"),
        pytest.param(GONE, FINISHED, False, id="a node that is done may not have seen the repository"),
        pytest.param(GONE, COPIES, True, id="what copies has a repository"),
    ],
)
def test_the_one_that_got_past_it_lets_all_others_begin(
    causes: dict[str, str], event: dict[str, str], is_over: bool, breaker: Breaker, clock: Clock
):
    breaker.began("a")
    breaker.ended("a", causes, 9)
    clock.now += FIRST_PAUSE
    breaker.began("b")
    breaker.told("b", event)
    assert (breaker.room(8) > 0) is is_over


def test_what_one_child_alone_fails_at_stops_nobody(breaker: Breaker):
    breaker.began("a")
    assert not breaker.ended("a", {}, 9)
    assert breaker.room(8) == 2 and breaker.notices() == []


def test_it_is_told_once_that_it_stops_all_and_once_that_it_is_over(breaker: Breaker, clock: Clock):
    for name in ("a", "b"):
        breaker.began(name)
    for name in ("a", "b"):
        breaker.ended(name, GONE, 388)
    (told,) = breaker.notices()
    assert told == f"{GONE['repository /backup on store']}: 388 more wait, and one of them tries again in 1 min 00 s"
    clock.now += FIRST_PAUSE
    breaker.began("a")
    assert not breaker.ended("a", {}, 387)
    assert breaker.notices() == [f"this is over: {GONE['repository /backup on store']}"]


def test_the_causes_of_a_run_are_in_its_document():
    assert causes_of({"exit_code": 1, "shared": LOGIN}) == LOGIN
    assert causes_of({}) == {}


def test_none_that_wait_for_a_cause_is_dropped(clock: Clock):
    with Admission(clock=clock, counts_on=clock) as queue:
        queue.put(
            *(Request(f"vm{number}", f"vm{number}", (Claim("disks", 1, 5, "disks"),), 0.0) for number in range(9))
        )
        begun = queue.admit(8)
        assert len(begun) == 2
        again = [queue.release(one.id, LOGIN) for one in begun]
        assert again == [True, False]
        assert queue.admit(8) == []
        refused = queue.refused()
        assert {one.request.id for one in refused} | {begun[1].id} == {f"vm{number}" for number in range(9)}
        assert {(one.shared, one.why) for one in refused} == set(LOGIN.items())
