"""A cause that many children share: it is tried by one of them at a time, told once, and keeps nobody else."""

import math

import pytest

from runner.sets.admission import Admission
from runner.sets.breaker import FIRST_PAUSE, LONGEST_PAUSE, TRIES, Breaker, causes_of
from runner.sets.request import Request
from runner.step.items import Claim

LOGIN = {"login vcenter prod": "logging in at prod failed: wrong user name or password"}
GONE = {"repository /backup on store": "/backup on store is not a repository: mount its disk"}
DOWN = {"host node1": "node1 cannot be reached"}
FULL = {"no room on datastore ds7": "datastore ds7 has 3.0 % free"}
FINISHED = {"type": "node-finished"}
COPIES = {"type": "node-progress"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Night:
    """Requests of one runner, with no limits but places."""

    def __init__(self, *requests: Request) -> None:
        self.clock = Clock()
        self.queue = Admission(clock=self.clock, counts_on=self.clock)
        self.queue.put(*requests)
        self.runs: list[str] = []
        self.refused: dict[str, str] = {}

    def begin(self, room: int = 8) -> list[str]:
        """Ids, of those that begin now."""
        begun = [one.id for one in self.queue.admit(room)]
        self.runs += begun
        self.refused |= {one.request.id: one.shared for one in self.queue.refused()}
        return begun

    def fail(self, identity: str, causes: dict[str, str]) -> bool:
        self.runs.remove(identity)
        return self.queue.release(identity, causes, failed=True)

    def end(self, identity: str) -> None:
        assert not self.fail(identity, {})

    def all_begin(self) -> set[str]:
        """Whoever begins one after the other, each of which gets somewhere."""
        found = set()
        while begun := self.begin(1):
            for one in begun:
                self.queue.told(one, COPIES)
            found |= set(begun)
        return found


def vms(count: int, job: str = "gold", needs: frozenset[str] = frozenset()) -> list[Request]:
    return [Request(f"{job}@{number}", f"vm{number}", (), 0.0, job=job, needs=needs) for number in range(count)]


def test_no_more_than_two_are_on_their_way_to_a_first_result():
    night = Night(*vms(9))
    first, second = night.begin()
    assert night.begin() == []
    night.queue.told(first, {"type": "node-started"})
    assert night.begin() == []
    night.queue.told(second, FINISHED)
    assert len(night.begin()) == 1


def test_a_refused_login_is_tried_twice_in_all():
    night = Night(*vms(9))
    (first,) = night.begin(1)
    assert night.fail(first, LOGIN)
    assert night.begin() == []
    night.clock.now += FIRST_PAUSE
    (second,) = night.begin()
    assert not night.fail(second, LOGIN)
    night.clock.now += 24 * 3600
    assert night.begin() == []
    assert night.refused == dict.fromkeys((one.id for one in vms(9) if one.id != second), next(iter(LOGIN)))


def test_two_refused_at_once_are_both_tries_and_nobody_is_dropped():
    night = Night(*vms(9))
    first, second = night.begin()
    assert night.fail(first, LOGIN)
    assert not night.fail(second, LOGIN)
    assert night.begin() == []
    assert {*night.refused, second} == {one.id for one in vms(9)}


def test_the_one_that_was_to_try_does_not_once_another_that_ran_was_refused_too():
    night = Night(*vms(9))
    first, second = night.begin()
    night.queue.told(second, FINISHED)
    assert night.fail(first, LOGIN)
    night.clock.now += FIRST_PAUSE
    assert night.begin(0) == []  # it is in the queue now
    assert not night.fail(second, LOGIN)
    assert night.begin() == [] and len(night.refused) == 8


def test_two_sets_of_one_account_try_it_twice_together():
    needs = frozenset(LOGIN)
    night = Night(*vms(3, "gold", needs), *vms(3, "silver", needs))
    first, second = night.begin()
    night.fail(first, LOGIN)
    night.fail(second, LOGIN)
    assert night.begin() == [] and len(night.refused) == 5


def test_one_at_a_time_tries_again_with_growing_pauses_until_it_is_given_up():
    night = Night(*vms(9))
    (one,) = night.begin(1)
    again, pauses = night.fail(one, GONE), []
    while again:
        assert night.begin() == []
        pauses.append(night.queue.due())
        night.clock.now += night.queue.due()
        (one,) = night.begin()
        assert night.begin() == []
        again = night.fail(one, GONE)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert len(pauses) == TRIES - 1 and max(pauses) == LONGEST_PAUSE and sum(pauses) <= 3600
    assert night.begin() == [] and len(night.refused) == 8 and night.queue.waiting == 0


@pytest.mark.parametrize(
    ("causes", "event", "is_over"),
    [
        pytest.param(LOGIN, FINISHED, True, id="a node that is done was let in"),
        pytest.param(GONE, FINISHED, False, id="a node that is done may not have seen the repository"),
        pytest.param(GONE, COPIES, True, id="what copies has a repository"),
        pytest.param(FULL, COPIES, False, id="what copies may fill it yet"),
    ],
)
def test_the_one_that_got_past_it_lets_all_others_begin(causes: dict[str, str], event: dict[str, str], is_over: bool):
    night = Night(*vms(9))
    (one,) = night.begin(1)
    night.fail(one, causes)
    night.clock.now += FIRST_PAUSE
    (probe,) = night.begin()
    night.queue.told(probe, event)
    assert (night.begin() != []) is is_over
    night.end(probe)
    assert night.begin() != [] or is_over


def test_what_one_child_alone_fails_at_stops_nobody():
    night = Night(*vms(9))
    (one,) = night.begin(1)
    night.end(one)
    assert len(night.begin()) == 2 and night.queue.notices() == []


def test_a_host_that_is_down_keeps_the_set_that_needs_it_and_no_other():
    night = Night(*vms(50, "a", frozenset({"host node1"})), *vms(50, "b", frozenset({"host node2"})))
    (first,) = night.begin(1)
    assert first.startswith("a@") and night.fail(first, DOWN)
    assert night.all_begin() == {f"b@{number}" for number in range(50)}
    assert night.queue.waiting == 50
    assert DOWN["host node1"] in night.queue.waits_for("a@7")


def test_one_full_datastore_keeps_the_vms_on_it_and_no_others_of_their_set():
    on_it = [Request(f"gold@{n}", f"vm{n}", (), math.inf, job="gold", needs=frozenset(FULL)) for n in range(3)]
    others = [Request(f"gold@{n}", f"vm{n}", (), 0.0, job="gold") for n in range(3, 40)]
    night = Night(*others, *on_it)
    (first,) = night.begin(1)
    again = night.fail(first, FULL)
    assert night.all_begin() == {one.id for one in others}
    while again:
        night.clock.now += night.queue.due()
        (probe,) = night.begin()
        again = night.fail(probe, FULL)
    assert night.begin() == []
    assert night.queue.waiting == 0 and len(night.refused) == 2


def test_two_causes_at_once_end_together_and_keep_nobody_for_ever():
    night = Night(*vms(9, "gold", frozenset((*DOWN, *LOGIN))))
    first, second = night.begin()
    assert night.fail(first, DOWN) and night.fail(second, LOGIN)
    assert night.begin() == []
    night.clock.now += FIRST_PAUSE
    (probe,) = night.begin()
    assert not night.fail(probe, LOGIN)
    assert night.begin() == [] and night.queue.waiting == 0
    assert set(night.refused.values()) == {next(iter(LOGIN))}


def test_the_one_that_tries_may_be_withdrawn_and_another_tries():
    night = Night(*vms(3, needs=frozenset(DOWN)), Request("big@1", "big", (Claim("disks", 5, 5, "disks"),), 0.0))
    (first,) = night.begin(1)
    night.fail(first, DOWN)
    night.clock.now += FIRST_PAUSE
    assert night.begin(0) == []  # the one that tries is in the queue now
    night.queue.withdraw([first])
    assert len([one for one in night.begin() if one.startswith("gold@")]) == 1


def test_it_is_told_once_that_it_stops_them_and_once_that_it_is_over():
    night = Night(*vms(388))
    first, second = night.begin()
    night.fail(first, GONE)
    night.fail(second, GONE)
    assert night.queue.notices() == [
        f"{GONE['repository /backup on store']}: 388 wait, and one tries again in 1 min 00 s, then less and less "
        "often for an hour"
    ]
    night.clock.now += FIRST_PAUSE
    (probe,) = night.begin()
    assert night.queue.notices() == []
    night.end(probe)
    assert night.queue.notices() == [f"this is over: {GONE['repository /backup on store']}"]


def test_the_causes_of_a_run_are_in_its_document():
    assert causes_of({"exit_code": 1, "shared": LOGIN}) == LOGIN
    assert causes_of({}) == {}


def test_nobody_is_asked_to_look_again_while_only_the_end_of_a_child_can_help():
    clock = Clock()
    breaker = Breaker(clock)
    one, other = vms(2)
    breaker.began(one)
    breaker.ended(one, GONE)
    breaker.keep(one, 0.0)
    breaker.began(other)
    clock.now += FIRST_PAUSE
    assert breaker.tries() == [] and breaker.due() == math.inf
