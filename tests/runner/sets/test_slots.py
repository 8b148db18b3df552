"""Runners that share limits in one place, on this machine and behind sshd: what they hold together never passes a limit,
whoever dies, freezes or writes nonsense."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.base.errors import HostError
from runner.hosts.held_lock import holder_of
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.stray_processes import end_session
from runner.sets.admission import SLOTS, Admission
from runner.sets.book import Book, Entry, Runner, Share
from runner.sets.others import Others
from runner.sets.queue import Queue
from runner.sets.request import Request
from runner.sets.slots import Seen, Slots
from runner.step.items import Claim
from tests.eventually import eventually
from tests.sshd import (
    either_host,  # noqa: F401  # a fixture
    sshd,  # noqa: F401  # a fixture
)

DISKS = "disks read in vCenter prod at once"
FINISHED = {"type": "node-finished"}

Start = Callable[..., Admission]


class Clock:
    """Of seconds that count on: each look at it is ten seconds later, so that every question looks afresh."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


@pytest.fixture
def start(host: Host, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(name: str, *, on: Host = host, ending: int = 60) -> Admission:
            slots = Slots(on, str(tmp_path / "slots"), holder_of(name, "nightly", name), ending=ending)
            return stack.enter_context(Admission(slots, counts_on=Clock()))

        yield begin


def request(name: str, disks: int = 1, limit: int = 4, age: float = 0.0) -> Request:
    return Request(name, name, (Claim("vcenter disks", disks, limit, DISKS),), age)


def begun(queue: Admission, room: int = 9) -> list[str]:
    """All that it admits; each gets somewhere at once."""
    found: list[str] = []
    while admitted := queue.admit(room - len(found)):
        for one in admitted:
            queue.told(one.id, FINISHED)
        found += [one.id for one in admitted]
    return found


def test_what_one_holds_the_other_does_not_take(start: Start):
    first, second = start("first"), start("second")
    first.put(*(request(f"a{number}") for number in range(3)))
    second.put(*(request(f"b{number}") for number in range(3)))
    assert begun(first) == ["a0", "a1", "a2"]
    assert begun(second) == ["b0"]
    assert second.waits_for("b1") == f"1 of 4 {DISKS} (4 in use)"
    first.release("a0")
    assert begun(second) == ["b1"]


def test_the_older_one_of_another_runner_goes_first(start: Start):
    first, second = start("first"), start("second")
    first.put(request("running", 4, age=200), request("young", 4, age=1))
    assert begun(first) == ["running"]
    second.put(request("old", 4, age=99))
    assert begun(second) == []
    first.release("running")
    assert begun(first) == []
    assert begun(second) == ["old"]


def test_one_that_ends_in_order_gives_all_back_at_once(start: Start):
    first, second = start("first"), start("second")
    first.put(request("a", 4))
    second.put(request("b", 4))
    assert (begun(first), begun(second)) == (["a"], [])
    first.close()
    assert begun(second) == ["b"]


def test_a_file_that_cannot_be_read_counts_as_full(start: Start, tmp_path: Path):
    first, second = start("first"), start("second")
    first.put(request("a"))
    assert begun(first) == ["a"]
    (file,) = (tmp_path / "slots").glob("*.json")
    file.write_text("{")
    second.put(request("b"))
    assert begun(second) == []
    assert "cannot be read" in second.waits_for("b")


def test_a_file_of_a_newer_version_counts_as_full(start: Start, tmp_path: Path):
    first, second = start("first"), start("second")
    first.put(request("a"))
    begun(first)
    (file,) = (tmp_path / "slots").glob("*.json")
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    second.put(request("b"))
    assert begun(second) == []


def test_a_runner_whose_lock_was_lost_admits_nothing_more(start: Start, tmp_path: Path):
    queue = start("first")
    queue.put(request("a"), request("b"))
    assert queue.admit(1) != []
    for file in (tmp_path / "slots").glob("*.lock"):
        file.unlink()
    assert begun(queue) == []
    (refused,) = queue.refused()
    assert (refused.request.id, refused.shared) == ("b", SLOTS)
    assert "lost its lock" in refused.why


def test_a_runner_whose_session_broke_has_its_lock_again_though_it_has_nothing_to_say(
    start: Start, host: Host, tmp_path: Path
):
    if host.local:
        pytest.skip("no session")
    first = start("first")
    first.put(request("a", 4))
    assert begun(first) == ["a"]
    (lock,) = (tmp_path / "slots").glob("*.lock")
    end_session(host, str(lock), "first:first")
    assert begun(first) == []
    second = start("second", ending=0)
    second.put(request("b", 4))
    assert begun(second) == []
    assert second.waits_for("b") == f"4 of 4 {DISKS} (4 in use)"


HOLDS = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.runner.sets.test_slots import LocalHost, Slots, Admission, holder_of, begun, request
queue = Admission(Slots(LocalHost(), sys.argv[1], holder_of("other", "nightly", "other"))).__enter__()
queue.put(request("held", 4, age=200), request("waiting", 4, age=99))
print(begun(queue), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds all."""
    (tmp_path / "slots").mkdir()
    root = Path(__file__).parents[3]
    argv = [sys.executable, "-c", HOLDS, str(tmp_path / "slots"), str(root)]
    with subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "['held']\n"
        yield process
        process.kill()


def test_claims_of_a_killed_runner_count_until_its_children_had_time_to_stop_and_then_are_void(
    start: Start, other: subprocess.Popen[str], tmp_path: Path
):
    queue = start("mine", ending=2)
    queue.put(request("b", 4))
    assert begun(queue) == []
    other.kill()
    other.wait()
    assert begun(queue) == []
    assert eventually(lambda: begun(queue) == ["b"], 20)
    assert len(list((tmp_path / "slots").glob("*.json"))) == 1


def test_a_frozen_runner_keeps_what_it_holds(start: Start, other: subprocess.Popen[str]):
    os.kill(other.pid, signal.SIGSTOP)
    try:
        queue = start("mine", ending=0)
        queue.put(request("b"))
        assert begun(queue) == []
    finally:
        os.kill(other.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("lives", "quiet", "counts"),
    [
        pytest.param(True, 5.0, True, id="looks"),
        pytest.param(True, 61.0, False, id="frozen"),
        pytest.param(False, 5.0, False, id="dead"),
    ],
)
def test_nothing_is_kept_for_what_a_runner_waits_for_that_does_not_look(lives: bool, quiet: float, counts: bool):
    shares = (Share(resource="vcenter disks", amount=4, limit=4),)
    waits = (Entry(id="theirs", shares=shares, priority=0, point=None, since=0.0),)
    runner = Runner("other", lives, quiet, Book(holder="other", waits=waits, room=1))
    queue = Queue()
    queue.put(request("mine"), 10.0)
    others = Others(queue)
    others.see(Seen("1", (runner,)), 10.0)
    admitted = queue.admit(lambda owner: owner == "" or others.may_begin(owner))
    assert [one.owner for one in admitted] == (["other"] if counts else [""])


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "slots").touch()
    with pytest.raises(HostError):
        Admission(Slots(LocalHost(), str(tmp_path / "slots"), holder_of("r", "j", "e"))).__enter__()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_three_runners_do_no_limit_is_passed_and_everything_has_its_turn(seed: int, tmp_path: Path):
    """They put, admit, release, end and begin again in any order."""
    chance = random.Random(seed)
    running: dict[str, int] = {}
    waiting = {f"{name}{number}": chance.randint(1, 4) for name in "abc" for number in range(4)}
    done: set[str] = set()
    with ExitStack() as stack:

        def begin(name: str) -> Admission:
            slots = Slots(LocalHost(), str(tmp_path / "slots"), holder_of(name, "nightly", name))
            queue = stack.enter_context(Admission(slots, counts_on=Clock()))
            mine = [one for one in waiting if one.startswith(name) and one not in done | running.keys()]
            queue.put(*(request(one, waiting[one], age=chance.random()) for one in mine))
            return queue

        runners = {name: begin(name) for name in "abc"}
        for _ in range(200):
            name = chance.choice("abc")
            running |= {one: waiting[one] for one in begun(runners[name], 2)}
            assert sum(running.values()) <= 4, running
            mine = [one for one in running if one.startswith(name)]
            if mine and chance.random() < 0.6:
                ended = chance.choice(mine)
                del running[ended]
                done.add(ended)
                runners[name].release(ended)
            elif not mine and chance.random() < 0.1:
                runners[name].close()
                runners[name] = begin(name)
            if done == waiting.keys():
                return
    pytest.fail(f"{sorted(waiting.keys() - done)} starve")
