"""The walk ahead of a run: what a plan, a doctor and a run that is about to begin make of what steps tell beforehand."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import LockedError, SendenseError
from runner.base.model import JobModel, Model
from runner.engine.readiness import NotReady, require_ready
from runner.engine.standing import Outcomes, Standings
from runner.engine.walk import Visit, Walk
from runner.events.check_results import good, noted, wrong
from runner.job.model import StepSpec
from runner.job.nodes import Nodes
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.registry import Registry
from runner.step.space import Space
from runner.step.step import Empty, Lifetime, Step
from tests.runner.toys import ahead

ASKED: list[str] = []


class StoneIn(JobModel):
    weight: int = 1
    on: int = 0
    tells: str = ""


class Stone(Model):
    height: int


class Lay(Step[StoneIn, Empty, Stone]):
    """Lays a stone on another one."""

    name, lifetime, In, Out, example = "lay", Lifetime.KEEP, StoneIn, Stone, ""

    def check(self, ctx: Context, inputs: StoneIn, recorded: Stone | None) -> Stone | None:
        return recorded

    def run(self, ctx: Context, inputs: StoneIn, live: Empty) -> Stone:
        raise AssertionError("a look ahead changes nothing")

    def preflight(self, ctx: Context | None, known: Known[StoneIn, Stone]) -> Preflight[Stone]:
        settings = known.settings(weight="weight")
        if ctx is None:
            return Preflight(settings=settings)
        ASKED.append(ctx.node)
        if known.inputs is None:
            return Preflight(settings=settings, observations=(good("the yard", "stones", "there are some"),))
        return _told(ctx, known.inputs, settings)


def _told(ctx: Context, inputs: StoneIn, settings: Any) -> Preflight[Stone]:
    if inputs.tells == "raises":
        raise SendenseError("the yard is closed")
    space = Space(host="local", path="/", free=5, least=inputs.weight, most=inputs.weight, of=ctx.node)
    seen = {
        "wrong": wrong("the yard", "stones", "there are none"),
        "noted": noted("the yard", "stones", "few are left"),
    }
    return Preflight(
        observations=(seen[inputs.tells],) if inputs.tells in seen else (),
        problems=("it would fall",) if inputs.tells == "problem" else (),
        locked=LockedError("the yard", "somebody else") if inputs.tells == "locked" else None,
        notes=(f"on {inputs.on}",),
        size=inputs.weight,
        space=space,
        settings=settings,
        prospect=None if inputs.tells == "unforeseen" else Stone(height=inputs.on + 1),
    )


class Hold(Lay):
    """Holds a stone."""

    name, lifetime = "hold", Lifetime.JOB


class Count(Step[Empty, Empty, Stone]):
    """Counts the stones that lie there."""

    name, lifetime, In, Out, example, read_only = "count", Lifetime.KEEP, Empty, Stone, "", True

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Stone:
        ASKED.append(f"run {ctx.node}")
        return Stone(height=3)

    def preflight(self, ctx: Context | None, known: Known[Empty, Stone]) -> Preflight[Stone]:
        return Preflight(observations=() if ctx is None else (good("the wall", "its height", "can be measured"),))


REGISTRY = Registry({kind.name: kind() for kind in (Lay, Hold, Count)}, {})


class Stones(Model):
    keys: tuple[int, ...]


class Heap(Step[Empty, Empty, Stones]):
    """Lists stones."""

    name, lifetime, In, Out, example, read_only = "heap", Lifetime.KEEP, Empty, Stones, "", True

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Stones:
        return Stones(keys=(1, 2, 3))


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    ASKED.clear()


def wall(*tells: str, first: str = "lay") -> tuple[StepSpec, ...]:
    """Stones a, b, …, each on the one before, which tell that."""
    steps = []
    for number, told in enumerate(tells):
        on: Any = f"${{{{ {chr(96 + number)}.height }}}}" if number else 0
        steps.append(StepSpec(chr(97 + number), "lay" if number else first, {"on": on, "tells": told, "weight": 2}))
    return tuple(steps)


def test_the_nodes_behind_one_are_looked_at_by_what_it_will_give(tmp_path: Path) -> None:
    with ahead(tmp_path, wall("", "", ""), REGISTRY) as (nodes, resolver, observer):
        visits = list(Walk(nodes, resolver, observer, Standings({}, observer)))
    assert [visit.found.notes for visit in visits] == [("on 0",), ("on 1",), ("on 2",)]
    assert [visit.waiting for visit in visits] == [(), ("a",), ("b",)]
    assert ASKED == ["a", "b", "c"]


def test_many_nodes_of_a_step_are_looked_at_side_by_side_once_the_first_was_and_told_in_their_order(
    tmp_path: Path,
) -> None:
    both = threading.Barrier(2)
    seen: list[str] = []

    class Together(Lay):
        name = "together"

        def preflight(self, ctx: Context | None, known: Known[StoneIn, Stone]) -> Preflight[Stone]:
            assert ctx is not None
            seen.append(ctx.node)
            if ctx.node != "lay[1]":
                both.wait(10)
            return Preflight()

    registry = Registry({"heap": Heap(), "together": Together()}, {})
    steps = (StepSpec("heap", "heap", {}), StepSpec("lay", "together", {}, (("stone", "${{ heap.keys }}"),)))
    with ahead(tmp_path, steps, registry) as (nodes, resolver, observer):
        visits = list(Walk(nodes, resolver, observer, Standings({}, observer)))
    assert [visit.name for visit in visits] == ["heap", "lay[1]", "lay[2]", "lay[3]"]
    assert (seen[0], sorted(seen[1:])) == ("lay[1]", ["lay[2]", "lay[3]"])


def test_behind_what_cannot_be_foreseen_only_a_doctor_looks_and_only_at_what_the_job_file_tells(tmp_path: Path) -> None:
    for thorough, expected in ((False, ["a"]), (True, ["a", "b"])):
        ASKED.clear()
        with ahead(tmp_path, wall("unforeseen", ""), REGISTRY) as (nodes, resolver, observer):
            _, behind = Walk(nodes, resolver, observer, Standings({}, observer), thorough=thorough)
        assert expected == ASKED
        assert not behind.complete
        assert [setting.text for setting in behind.found.settings] == ["2"]
        assert len(behind.observations) == thorough


def test_offline_nothing_is_asked_and_all_settings_are_told(tmp_path: Path) -> None:
    with ahead(tmp_path, wall("", ""), REGISTRY, offline=True) as (nodes, resolver, observer):
        visits = list(Walk(nodes, resolver, observer, Standings({}, observer)))
    assert ASKED == []
    assert [setting.text for visit in visits for setting in visit.found.settings] == ["2", "2"]


def test_a_step_that_is_read_only_is_run_for_a_plan_and_never_by_the_look_before_a_run(tmp_path: Path) -> None:
    for looks, expected in ((True, ["run a"]), (False, [])):
        ASKED.clear()
        with ahead(tmp_path, (StepSpec("a", "count", {}),), REGISTRY) as (nodes, resolver, observer):
            standings = Standings({}, observer) if looks else Outcomes({})
            (visit,) = Walk(nodes, resolver, observer, standings, looks=looks)
        assert expected == ASKED
        assert (visit.out is not None) == looks
        assert visit.observations == ()


def _look(tmp_path: Path, specs: tuple[StepSpec, ...], done: Iterable[str] = ()) -> list[Visit]:
    with ahead(tmp_path, specs, REGISTRY) as (nodes, resolver, observer):
        outputs = {node.id: {"height": 1} for node in _nodes(nodes) if str(node.id) in set(done)}
        visits = list(Walk(nodes, resolver, observer, Outcomes(outputs), looks=False))
    require_ready(visits)
    return visits


def _nodes(nodes: Nodes) -> Any:
    return [node for step in nodes.order for node in nodes.expand(step, {})]


@pytest.mark.parametrize(
    ("tells", "said"),
    [
        pytest.param("wrong", "a: there are none; nothing was changed", id="wrong"),
        pytest.param("raises", "a: the yard is closed; nothing was changed", id="cannot-be-looked-at"),
        pytest.param("locked", "a: the yard is locked by another run: somebody else", id="locked"),
    ],
)
def test_a_run_does_not_begin(tmp_path: Path, tells: str, said: str) -> None:
    with pytest.raises(NotReady) as refused:
        _look(tmp_path, wall(tells))
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("tells", ["noted", "problem"])
def test_a_run_begins_and_meets_by_itself_what_a_plan_only_warns_of(tmp_path: Path, tells: str) -> None:
    assert _look(tmp_path, wall(tells))


def test_another_run_is_told_alone_whatever_else_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotReady) as refused:
        _look(tmp_path, wall("wrong", "locked"))
    (fault,) = refused.value.faults
    assert isinstance(fault.error, LockedError)
    assert fault.node == "b"


def test_the_space_of_all_nodes_is_summed_and_told_at_the_first_that_writes_there(tmp_path: Path) -> None:
    with pytest.raises(NotReady) as refused:
        _look(tmp_path, wall("", "", ""))
    (fault,) = refused.value.faults
    assert fault.node == "a"
    assert "6 B needed in / on local, 5 B free" in str(fault.error)


def test_what_is_made_needs_nothing_more_and_what_is_held_will_be_released(tmp_path: Path) -> None:
    assert _look(tmp_path, wall("wrong"), done=["a"])[0].observations == ()
    with pytest.raises(NotReady):
        _look(tmp_path, wall("wrong", first="hold"), done=["a"])
