"""Who may begin: no limit is passed, nobody is dropped or starves, whatever is asked for and whoever ends first."""

import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.sets.queue import CountDown, Queue
from runner.sets.request import Request
from runner.step.items import Claim
from tests.bench.admission import estate, night


def claim(resource: str, amount: int, limit: int) -> Claim:
    return Claim(resource, min(amount, limit), limit, f"of {resource}", amount > limit)


def request(name: str, *claims: Claim, age: float = 0.0, priority: int = 0) -> Request:
    return Request(name, name, claims, age, priority)


def admitted(queue: Queue, room: int = 1000) -> list[str]:
    return [one.request.id for one in queue.admit(CountDown(room).one_more)]


def test_all_that_a_request_needs_is_free_or_it_takes_nothing():
    queue = Queue()
    queue.put(request("both", claim("vcenter", 1, 9), claim("host", 2, 2)), 0)
    queue.put(request("host", claim("host", 1, 2), age=9), 0)
    assert admitted(queue) == ["host"]
    assert queue.used("vcenter") == 0
    queue.release("host")
    assert admitted(queue) == ["both"]
    assert (queue.used("vcenter"), queue.used("host")) == (1, 2)


def test_priority_goes_first_then_the_oldest_good_point_and_before_both_what_has_none():
    queue = Queue()
    for name, age, priority in (("young", 1, 0), ("old", 99, 0), ("never", math.inf, 0), ("later", math.inf, 1)):
        queue.put(request(name, claim("disks", 1, 1), age=age, priority=priority), 100)
    order = []
    while len(queue):
        (one,) = admitted(queue)
        order.append(one)
        queue.release(one)
    assert order == ["never", "old", "young", "later"]


def test_one_that_needs_more_than_a_limit_takes_all_of_it_when_alone():
    queue = Queue()
    queue.put(request("small", claim("host", 1, 4), age=9), 0)
    queue.put(request("large", claim("host", 30, 4)), 0)
    assert admitted(queue) == ["small"]
    queue.release("small")
    assert admitted(queue) == ["large"]
    assert queue.used("host") == 4


def test_a_large_one_is_passed_so_often_and_then_keeps_what_becomes_free():
    queue = Queue(passes=3)
    for name in ("a", "b"):
        queue.put(request(name, claim("host", 1, 2), age=99), 0)
    assert admitted(queue) == ["a", "b"]
    queue.put(request("large", claim("host", 2, 2), age=50), 0)
    for number in range(10):
        queue.put(request(f"small{number}", claim("host", 1, 2), age=10 - number), 0)
    running, passed = ["a", "b"], []
    while "large" not in running:
        queue.release(running.pop(0))
        begun = admitted(queue)
        running += begun
        passed += [name for name in begun if name != "large"]
    assert passed == ["small0", "small1", "small2"]


def test_what_waits_longest_is_not_overtaken_for_ever_by_more_urgent_ones():
    queue = Queue(passes=3)
    queue.put(request("first", claim("host", 1, 1), priority=0), 0)
    admitted(queue)
    queue.put(request("patient", claim("host", 1, 1), priority=9), 1)
    running, overtook = "first", 0
    while running != "patient":
        queue.put(request(f"urgent{overtook}", claim("host", 1, 1)), 2 + overtook)
        queue.release(running)
        (running,) = admitted(queue)
        overtook += running != "patient"
    assert overtook == 3


def test_one_that_lacks_now_this_and_now_that_is_not_passed_for_ever_either():
    queue = Queue(passes=3)
    queue.put(request("a0", claim("a", 1, 1), age=99), 0)
    assert admitted(queue) == ["a0"]
    queue.put(request("both", claim("a", 1, 1), claim("b", 1, 1), age=9), 0)
    running, turn = "a0", 0
    while not any(one.reserves for one in queue.waiting()):
        turn += 1
        assert turn < 10, "it is passed again and again"
        other = f"{'ab'[turn % 2]}{turn}"
        queue.put(request(other, claim("ab"[turn % 2], 1, 1)), 0)
        assert admitted(queue) == [other]
        queue.release(running)
        assert admitted(queue) == []
        running = other
    queue.release(running)
    assert admitted(queue) == ["both"]


def test_what_a_waiting_one_lacks_is_told_and_who_keeps_it():
    queue = Queue(passes=1)
    queue.put(request("a", claim("host", 1, 2), age=9), 0)
    admitted(queue)
    queue.put(request("large", claim("host", 2, 2), age=8), 0)
    queue.put(request("b", claim("host", 1, 2), age=7), 0)
    queue.put(request("c", claim("host", 1, 2), age=6), 0)
    assert admitted(queue) == ["b"]
    queue.release("b")
    assert admitted(queue) == []
    large, c = queue.waits_for("large"), queue.waits_for("c")
    assert large is not None and (large.left, large.reserved) == (1, False)
    assert c is not None and (c.left, c.reserved) == (1, True)


def test_two_job_files_with_different_limits_pass_neither():
    queue = Queue()
    queue.put(request("careful", Claim("host", 1, 2, "")), 0)
    queue.put(request("second", Claim("host", 1, 8, "")), 0)
    queue.put(request("third", Claim("host", 1, 8, "")), 0)
    assert admitted(queue) == ["careful", "second"]
    queue.release("careful")
    assert admitted(queue) == ["third"]


# The property: over estates, limits, and who ends, is put, or is withdrawn when.

LIMITS = st.dictionaries(st.sampled_from(["vcenter", "esx1", "esx2", "repository"]), st.integers(1, 6), min_size=1)


@st.composite
def estates_of(draw: st.DrawFn) -> tuple[list[Request], int]:
    limits = draw(LIMITS)
    count = draw(st.integers(1, 25))
    found = []
    for number in range(count):
        disks = draw(st.integers(1, 9))
        names = draw(st.sets(st.sampled_from(sorted(limits)), min_size=1))
        claims = (claim(name, disks if name != "repository" else 1, limits[name]) for name in sorted(names))
        age = draw(st.sampled_from([math.inf, 10.0, 20.0, 30.0]))
        found.append(request(f"vm{number}", *claims, age=age, priority=draw(st.integers(0, 1))))
    return found, draw(st.integers(1, 4))


@dataclass
class Model:
    """What must hold, by counting everything each time."""

    queue: Queue
    running: dict[str, Request] = field(default_factory=dict)
    waiting: dict[str, Request] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def put(self, one: Request, now: float) -> None:
        self.queue.put(one, now)
        self.waiting[one.id] = one

    def used(self, resource: str) -> int:
        claims = [claim for one in self.running.values() for claim in one.claims]
        return sum(claim.amount for claim in claims if claim.resource == resource)

    def admit(self, room: int) -> None:
        begun = self.queue.admit(CountDown(room).one_more)
        assert len(begun) <= room
        for one in begun:
            self.running[one.request.id] = self.waiting.pop(one.request.id)
        self.within_limits()
        if len(begun) < room:
            self.nothing_idles()

    def within_limits(self) -> None:
        for one in self.running.values():
            for wanted in one.claims:
                assert self.used(wanted.resource) <= wanted.limit, f"{wanted.resource} is over its limit"
                assert self.used(wanted.resource) == self.queue.used(wanted.resource)

    def nothing_idles(self) -> None:
        """Nobody waits whose claims fit, beside what is kept for those that were passed too often."""
        kept = [one for one in self.queue.waiting() if one.reserves]
        for one in self.queue.waiting():
            before = kept[: kept.index(one)] if one in kept else kept
            fits = all(
                self.used(wanted.resource) + reserved_of(before, wanted.resource) + wanted.amount <= wanted.limit
                for wanted in one.request.claims
            )
            assert not fits or one in kept, f"{one.request.id} waits for nothing"

    def end(self, name: str) -> None:
        self.queue.release(name)
        self.ended.add(name)
        del self.running[name]


def reserved_of(waiting: list, resource: str) -> int:
    return sum(wanted.amount for one in waiting for wanted in one.request.claims if wanted.resource == resource)


@settings(max_examples=75, deadline=None)
@given(estates_of(), st.integers(0, 2**32), st.integers(1, 4))
def test_no_limit_is_passed_nothing_idles_and_everything_has_its_turn(estate, seed: int, passes: int):
    requests, room = estate
    chance = random.Random(seed)
    model = Model(Queue(passes=passes))
    coming, now = list(requests), 0.0
    for _ in range(10 * len(requests) + 10):
        now += 1
        for _ in range(min(len(coming), chance.randint(0, 5))):
            model.put(coming.pop(), now)
        model.admit(max(0, room - len(model.running)))
        if model.running and chance.random() < 0.8:
            model.end(chance.choice(sorted(model.running)))
        if not coming and not model.waiting and not model.running:
            break
    assert model.ended == {one.id for one in requests}


@settings(max_examples=50, deadline=None)
@given(estates_of(), st.integers(0, 2**32))
def test_an_endless_stream_of_urgent_ones_starves_nobody(estate, seed: int):
    """Each admission ends at some time; those that come meanwhile are more urgent than all that wait."""
    requests, _ = estate
    chance = random.Random(seed)
    passes = 2
    model = Model(Queue(passes=passes))
    for one in requests:
        model.put(one, 0.0)
    rivals = [one for one in requests if len(one.claims) == 1] or requests[:1]
    patience = 4 * (passes + 2) * (len(requests) + 2) * 10
    for now in range(1, patience):
        rival = chance.choice(rivals)
        model.put(Request(f"urgent{now}", "", rival.claims, math.inf, -1), float(now))
        model.admit(50)
        for name in sorted(model.running):
            if chance.random() < 0.6:
                model.end(name)
        if {one.id for one in requests} <= model.ended:
            return
    pytest.fail(f"{sorted(name for name in model.waiting if name.startswith('vm'))} starve")


def test_its_work_grows_with_what_happens_not_with_what_waits():
    """Lines of Python that 1,000 and 4,000 requests take from the first to the last: about four times as many."""
    few, many = work_of(500), work_of(2000)
    assert many < 8 * few, f"{few} and {many} tries"


def work_of(count: int) -> int:
    tries = 0

    class Counted(Queue):
        def _lack(self, one):
            nonlocal tries
            tries += 1
            return super()._lack(one)

    queue, chance = Counted(), random.Random(4)
    for number in range(count):
        disks, host, store = chance.randint(1, 6), chance.randrange(10), chance.randrange(20)
        claims = claim("vcenter", disks, 60), claim(f"esx{host}", disks, 12), claim(f"store{store}", 1, 4)
        queue.put(request(f"vm{number}", *claims, age=chance.random()), 0)
    running: list[str] = []
    while len(queue):
        running += admitted(queue)
        queue.release(running.pop(chance.randrange(len(running))))
    return tries


def test_ten_thousand_vms_on_twenty_node_hosts_pass_no_limit_and_keep_the_hosts_busy():
    """With a clock of its own; it fails where a limit is passed or a VM is dropped."""
    found = night(list(estate(10_000)))
    assert found.busy > 0.75
    assert found.hours < 2 * found.at_least
