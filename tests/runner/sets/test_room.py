"""Room that is measured: who begins beside what is still to be written, and what becomes of those for whom there is none."""

from collections.abc import Collection

import pytest

from runner.base.errors import SendenseError, TransientError
from runner.base.units import GiB
from runner.sets.admission import Admission
from runner.sets.request import Request
from runner.step.items import UNCOUNTED, Claim, Room

REPOSITORY = "repository 1234 room"


class Place:
    def __init__(self, free: float) -> None:
        self.free = free
        self.now = 0.0
        self.asked: list[set[str]] = []

    def measure(self, living: Collection[str]) -> float:
        self.asked.append(set(living))
        if self.free < 0:
            raise SendenseError("store does not answer")
        return self.free

    def queue(self) -> Admission:
        clock = lambda: self.now  # noqa: E731
        return Admission(rooms=[Room(REPOSITORY, self.measure)], clock=clock, counts_on=clock)


def request(name: str, writes: float) -> Request:
    what = "room in repository main, of which 1.0 GiB stay free"
    return Request(name, name, (Claim(REPOSITORY, int(writes), UNCOUNTED, what, writes=True),), 0.0)


def begun(queue: Admission) -> list[str]:
    found = []
    while admitted := queue.admit(9):
        for one in admitted:
            queue.told(one.id, {"type": "node-finished"})
        found += [one.id for one in admitted]
    return found


def test_one_begins_if_what_the_others_are_still_to_write_leaves_its_own_share():
    place = Place(10 * GiB)
    queue = place.queue()
    queue.put(request("a", 6 * GiB), request("b", 6 * GiB), request("c", 4 * GiB))
    assert begun(queue) == ["a", "c"]
    assert queue.waits_for("b") == "room in repository main, of which 1.0 GiB stay free"
    assert queue.refused() == []


def test_what_became_free_is_seen_a_minute_later():
    place = Place(5 * GiB)
    queue = place.queue()
    queue.put(request("a", 4 * GiB), request("b", 4 * GiB))
    assert begun(queue) == ["a"]
    place.free = 9 * GiB
    assert begun(queue) == [] and queue.due() > 0
    place.now += 60
    assert begun(queue) == ["b"]
    assert place.asked == [set(), {"a"}]


@pytest.mark.parametrize(("free", "why"), [(5 * GiB, "nothing will free any"), (-1, "store does not answer")])
def test_one_for_which_there_will_be_no_room_is_refused_with_the_reason_and_not_waited_for(free: float, why: str):
    queue = Place(free).queue()
    queue.put(request("large", 6 * GiB))
    assert begun(queue) == []
    (refused,) = queue.refused()
    assert why in refused.why and refused.request.id == "large"
    assert queue.waiting == 0


def test_a_failure_has_it_measured_again_at_once():
    """It may hold a snapshot now."""
    place = Place(5 * GiB)
    queue = place.queue()
    queue.put(request("a", 4 * GiB), request("b", 1 * GiB), request("c", 1 * GiB))
    assert begun(queue) == ["a", "b"]
    queue.release("b", failed=True)
    place.free = 4 * GiB
    assert begun(queue) == []


FREE = "datastore 12 free space"


def on_datastore(name: str) -> Request:
    return Request(name, name, (Claim(FREE, 0, UNCOUNTED, "20 % free on datastore ds1"),), 0.0)


def test_what_is_short_while_a_snapshot_stands_there_is_waited_for_until_nobody_can_free_any():
    place = Place(1)
    clock = lambda: place.now  # noqa: E731
    queue = Admission(rooms=[Room(FREE, lambda living: place.free)], clock=clock, counts_on=clock)
    queue.put(*(on_datastore(name) for name in "abc"))
    assert [one.id for one in queue.admit(1)] == ["a"]
    place.free = -1
    place.now += 60
    assert queue.admit(9) == [] and queue.refused() == []
    assert queue.waits_for("b") == "20 % free on datastore ds1"
    queue.release("a")
    assert queue.admit(9) == []
    assert {one.request.id: one.shared for one in queue.refused()} == dict.fromkeys(
        "bc", "no room: 20 % free on datastore ds1"
    )


def test_what_does_not_answer_for_a_moment_is_asked_again_and_refuses_nobody_for_an_hour():
    now, answers = [0.0], [False]

    def measure(living: Collection[str]) -> float:
        if not answers[0]:
            raise TransientError("prod does not answer")
        return 1

    queue = Admission(rooms=[Room(FREE, measure, every=600)], clock=lambda: now[0], counts_on=lambda: now[0])
    queue.put(on_datastore("a"), on_datastore("b"))
    assert queue.admit(1) == [] and queue.refused() == []
    assert "prod does not answer" in queue.waits_for("a")
    assert queue.due() == 60
    answers[0] = True
    now[0] += 60
    assert [one.id for one in queue.admit(1)] == ["a"]
    queue.release("a", failed=True)
    answers[0] = False
    for _ in range(61):
        assert queue.admit(1) == [] and queue.refused() == []
        now[0] += 60
    assert queue.admit(1) == []
    (refused,) = queue.refused()
    assert "prod does not answer" in refused.why and queue.waiting == 0
