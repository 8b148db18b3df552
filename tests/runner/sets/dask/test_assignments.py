"""Which child is with which worker, whatever workers answer or do not answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.sets.dask.assignments import MOVES, Assignments, Patience
from runner.sets.dask.messages import Answer, Ended, Question
from runner.sets.placement import Order, PlacementLostError
from tests.fleet.toys import order

PATIENCE = Patience(silence=15, returns=300, locked=60)


class Fleet:
    """Workers as a controller sees them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.assignments = Assignments(
            "tls://s:1", lambda key, line: self.said.append(line), PATIENCE, clock=lambda: self.now
        )
        self.hosts = {"w1": ("north",), "w2": ("south",)}
        self.slots = dict.fromkeys(self.hosts, 2)
        self.assignments.present(self.hosts)
        for worker in self.hosts:
            self.answer(worker)

    def ask(self, worker: str) -> Question:
        return self.assignments.question(worker)

    def answer(self, worker: str, question: Question | None = None, *running: str, **more: Any) -> None:
        question = question or self.ask(worker)
        names = tuple(f"toys@{name}" for name in running)
        answer = Answer(hosts=self.hosts[worker], slots=self.slots[worker], taken=len(names), running=names, **more)
        self.assignments.answered(worker, question, answer)

    def start(self, tmp_path: Path, *names: str, host: str = "") -> None:
        for name in names:
            self.assignments.put(order(tmp_path / name, slices=1, host=host))

    def started(self, worker: str) -> list[str]:
        return [order.item for order in self.ask(worker).start]

    def ended(self) -> dict[str, tuple[int, str]]:
        return {end.key.removeprefix("toys@"): (end.exit_code, end.error) for end in self.assignments.take_ended()}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def end(name: str, exit_code: int = 0, **more: Any) -> dict[str, Any]:
    ended = Ended(key=f"toys@{name}", order=f"night-{name}", exit_code=exit_code, **more)
    return {"ended": (ended,)}


def test_a_child_goes_to_a_worker_at_its_node_host_alone(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", "b", "c", host="north")
    assert (fleet.started("w1"), fleet.started("w2")) == (["a", "b"], [])


@pytest.mark.parametrize("host", ["", "local"])
def test_local_is_any_worker_the_freest_first(fleet: Fleet, tmp_path: Path, host: str) -> None:
    fleet.start(tmp_path, "a", "b", "c", host=host)
    assert sorted(map(len, (fleet.started("w1"), fleet.started("w2")))) == [1, 2]


def test_room_is_what_is_free_and_not_waited_for(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.assignments.room() == 4
    fleet.start(tmp_path, "a", "b", "c", host="north")
    assert fleet.assignments.room() == 1
    fleet.answer("w1", None, "a", "b")
    assert fleet.assignments.room() == 1


def test_a_child_claims_a_slot_of_its_node_host(fleet: Fleet) -> None:
    (claim,) = fleet.assignments.claims("north")
    assert (claim.amount, claim.limit) == (1, 2)
    assert fleet.assignments.claims("local") == ()


def test_an_end_counts_once_the_last_event_came(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, "a")
    fleet.answer("w1", None, **end("a"))
    assert fleet.ended() == {}
    fleet.assignments.over("toys@a")
    fleet.answer("w1", None, **end("a"))
    assert fleet.ended() == {"a": (0, "")}
    assert fleet.ask("w1").heard == ("toys@a",)


def test_an_end_whose_last_event_was_lost_counts_with_the_next_answer(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, **end("a"))
    fleet.answer("w1", None, **end("a"))
    assert fleet.ended() == {"a": (0, "")}


def test_children_of_a_lost_worker_go_to_another_one_at_their_node_host(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, "a")
    fleet.hosts["w3"] = ("north",)
    fleet.slots["w3"] = 1
    fleet.assignments.present(("w2", "w3"))
    assert fleet.started("w2") == []
    fleet.answer("w3")
    assert fleet.started("w3") == ["a"]
    assert "its worker w1 was lost" in fleet.said[0]


def test_a_silent_worker_loses_its_children_and_keeps_none_when_it_answers_late(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a")
    (first,) = [name for name in ("w1", "w2") if fleet.assignments.question(name).start]
    other = "w2" if first == "w1" else "w1"
    question = fleet.ask(first)
    fleet.now = PATIENCE.silence + 1
    fleet.answer(other)
    fleet.assignments.look()
    assert fleet.started(other) == ["a"]
    fleet.answer(other, None, "a")
    fleet.answer(first, question, "a")
    assert fleet.ask(first).stop == ("toys@a",)
    fleet.answer(first, None, **end("a", 130))
    fleet.answer(first, None, **end("a", 130))
    assert fleet.ended() == {}


def test_a_child_that_ended_well_where_nobody_looked_is_done(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, "a")
    fleet.now = PATIENCE.silence + 1
    fleet.assignments.look()
    for _ in range(2):
        fleet.answer("w1", None, **end("a"))
    assert fleet.ended() == {"a": (0, "")}


def test_a_worker_that_was_started_anew_lost_what_it_had(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, "a")
    fleet.answer("w1")
    assert fleet.started("w1") == ["a"]


def test_a_child_that_its_worker_stopped_is_started_again_and_one_that_stopped_itself_is_not(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.start(tmp_path, "a", "b", host="north")
    fleet.answer("w1", None, "a", "b")
    for name, stopped in (("a", True), ("b", False)):
        fleet.assignments.over(f"toys@{name}")
        fleet.answer("w1", None, *({"a", "b"} - {name}), **end(name, 130, stopped=stopped))
    assert fleet.ended() == {"b": (130, "")}


def test_a_lock_that_a_former_process_may_hold_is_waited_for(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    fleet.answer("w1", None, "a")
    fleet.assignments.present(("w2",))
    fleet.assignments.present(("w1", "w2"))
    while fleet.now < PATIENCE.returns + 100:
        fleet.answer("w1")
        if fleet.started("w1"):
            for _ in range(2):
                fleet.answer("w1", None, **end("a", 3))
        if ended := fleet.ended():
            break
        fleet.now += 1
    assert ended["a"][0] == 3
    assert PATIENCE.returns < fleet.now < PATIENCE.returns + 40


def test_a_lock_of_somebody_else_is_waited_for_as_long_as_a_dead_controllers_children_live(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.start(tmp_path, "a", host="north")
    while not (ended := fleet.ended()):
        fleet.answer("w1")
        if fleet.started("w1"):
            for _ in range(2):
                fleet.answer("w1", None, **end("a", 3))
        fleet.now += 1
    assert ended["a"][0] == 3
    assert PATIENCE.locked < fleet.now < PATIENCE.locked + 35


def test_a_node_host_without_a_worker_is_waited_for_and_then_named(fleet: Fleet, tmp_path: Path) -> None:
    sentence = "no worker of the fleet at east answers: start `sendense worker --host east` there"
    fleet.start(tmp_path, "a", "b", host="east")
    for fleet.now in (5, 6, PATIENCE.returns - 1):
        fleet.assignments.look()
    assert fleet.said == [f"{sentence}; it is waited for, 300 s at most"]
    assert fleet.ended() == {}
    fleet.now = PATIENCE.returns + 1
    fleet.assignments.look()
    assert [exit_code for exit_code, error in fleet.ended().values() if sentence in error] == [1, 1]


def test_a_node_host_that_nobody_stands_at_is_waited_for_once(fleet: Fleet, tmp_path: Path) -> None:
    """150 VMs are not told so one after the other."""
    fleet.now = PATIENCE.returns + 1
    fleet.start(tmp_path, "a", host="east")
    fleet.assignments.look()
    assert fleet.ended()["a"][0] == 1


def test_what_its_workers_die_of_is_not_started_for_ever(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", host="north")
    for _ in range(MOVES + 1):
        fleet.answer("w1", None, "a")
        fleet.answer("w1")
    assert "it was started 11 times" in fleet.ended()["a"][1]


def test_a_fleet_without_workers_is_lost_after_a_while(fleet: Fleet) -> None:
    fleet.assignments.disconnected()
    fleet.now = PATIENCE.returns - 1
    assert fleet.assignments.room() == 0
    fleet.now = PATIENCE.returns + 1
    with pytest.raises(PlacementLostError, match="run it again to resume"):
        fleet.assignments.room()


def test_stop_asks_those_that_run_and_ends_those_that_wait(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start(tmp_path, "a", "b", "c", host="north")
    fleet.answer("w1", None, "a", "b")
    fleet.assignments.stop()
    assert fleet.ask("w1").stop == ("toys@a", "toys@b")
    assert [exit_code for exit_code, _ in fleet.ended().values()] == [130]
    fleet.assignments.disconnected()
    fleet.assignments.look()
    assert [exit_code for exit_code, _ in fleet.ended().values()] == [130, 130]


def test_a_child_of_a_controller_that_died_is_found_where_it_runs(fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots["w2"] = 1
    fleet.answer("w2", None, others=("night-a",))
    fleet.start(tmp_path, "a")
    assert (fleet.started("w1"), fleet.started("w2")) == ([], ["a"])


def test_a_worker_of_another_kind_is_left_alone_and_named(fleet: Fleet, tmp_path: Path) -> None:
    fleet.assignments.unfit("w1", "it is no `sendense worker`")
    fleet.start(tmp_path, "a", "b", "c", "d")
    assert (fleet.started("w1"), len(fleet.started("w2"))) == ([], 2)
    assert fleet.said == ["the worker w1 is not used: it is no `sendense worker`"]


def test_an_order_goes_by_its_id(fleet: Fleet, tmp_path: Path) -> None:
    """What an earlier controller's child came to is not taken for this one's."""
    fleet.start(tmp_path, "a", host="north")
    ended = Ended(key="toys@a", order="another night", exit_code=0)
    for _ in range(2):
        fleet.answer("w1", None, ended=(ended,))
    assert fleet.ended() == {}
    assert isinstance(fleet.ask("w1").start[0], Order)
