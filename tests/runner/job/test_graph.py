"""The graph of steps: edges, order, guards, and cycles named node by node."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.model import JobModel, Model
from runner.job.graph import CycleError, StepGraph, step_references
from runner.job.model import StepSpec
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.step import AnyStep, Empty, Lifetime, Step


class Nothing(Model):
    pass


class Plain(Step[JobModel, Empty, Nothing]):
    name: ClassVar[str] = "plain"
    lifetime: ClassVar[Lifetime] = Lifetime.KEEP
    In: ClassVar[type[JobModel]] = Empty
    Out: ClassVar[type[Model]] = Nothing
    example: ClassVar[str] = ""

    def run(self, ctx: Context, inputs: JobModel, live: Empty) -> Nothing:
        return Nothing()


class Look(Plain):
    name = "look"
    read_only = True


class Lock(Plain):
    name = "lock"
    lifetime = Lifetime.PROCESS
    guard = True


KINDS: dict[str, AnyStep] = {"plain": Plain(), "look": Look(), "lock": Lock()}
REGISTRY = Registry(KINDS, {})


def step(
    name: str, *needs: str, uses: str = "plain", text: str = "", each: tuple[tuple[str, str], ...] = ()
) -> StepSpec:
    return StepSpec(id=name, uses=uses, needs=needs, with_={"text": text}, each=each)


def graph(*steps: StepSpec) -> StepGraph:
    return StepGraph(steps, REGISTRY)


def test_edges_come_from_needs_and_from_references_at_any_depth() -> None:
    found = graph(
        step("a"),
        step("b", "a"),
        StepSpec(id="c", uses="plain", with_={"x": [{"y": "${{ b.z }}"}]}),
        StepSpec(id="d", uses="plain", each=(("v", "${{ a.list }}"),)),
    )
    assert {name: found.predecessors(name) for name in "abcd"} == {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)}


def test_a_variable_of_each_hides_a_step_of_its_name_only_after_it_is_bound() -> None:
    assert step_references(step("b", text="${{ a.x }}", each=(("a", "${{ a.list }}"),))) == ("a",)
    assert step_references(step("b", text="${{ v.x }}", each=(("v", "${{ a.l }}"), ("w", "${{ v.l }}")))) == ("a",)


def test_order_is_file_order_where_the_graph_leaves_a_choice() -> None:
    assert graph(step("z"), step("m", "a"), step("b"), step("a")).order() == ("z", "b", "a", "m")


def test_relatives() -> None:
    found = graph(step("a"), step("b", "a"), step("c", "b"), step("d", "a"))
    assert found.predecessors("c") == ("b",)
    assert found.ancestors("c") == {"a", "b"}


def test_a_guard_goes_before_all_that_changes_something_but_what_it_needs() -> None:
    found = graph(
        step("made"),
        step("guard", "made", uses="lock"),
        step("seen", uses="look"),
        step("work", "seen"),
    )
    assert found.predecessors("made") == ()
    assert found.predecessors("seen") == ()
    assert found.predecessors("work") == ("guard", "seen")


def test_two_guards_that_need_different_work_do_not_wait_for_each_other() -> None:
    found = graph(step("x"), step("y"), step("one", "x", uses="lock"), step("two", "y", uses="lock"))
    assert set(found.order()) == {"x", "y", "one", "two"}


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        pytest.param([step("a", "a")], "a → a", id="itself"),
        pytest.param([step("a", "c"), step("b", "a"), step("c", "b")], "a → b → c → a", id="three"),
        pytest.param([step("r"), step("a", "b", "r"), step("b", text="${{ a.x }}")], "a → b → a", id="by-reference"),
    ],
)
def test_a_cycle_is_named_node_by_node(steps: list[StepSpec], sentence: str) -> None:
    with pytest.raises(CycleError, match=sentence):
        graph(*steps)


def test_each_knot_is_named_once() -> None:
    with pytest.raises(CycleError) as caught:
        graph(step("a", "b"), step("b", "a"), step("c"), step("x", "y"), step("y", "x"))
    assert caught.value.cycles == (("a", "b"), ("x", "y"))


def test_pairing_is_a_prefix_of_the_same_name_and_expression() -> None:
    disk, part = ("disk", "${{ d.disks }}"), ("part", "${{ disk.parts }}")
    target = step("t", each=(disk, part))
    assert step("n", each=(disk, part)).paired(target) == 2
    assert step("n", each=(disk,)).paired(target) == 1
    assert step("n").paired(target) == 0
    assert step("n", each=(("disk", "${{ e.disks }}"), part)).paired(target) == 0


@given(st.lists(st.tuples(st.sampled_from(["plain", "look", "lock"]), st.sets(st.integers(0, 8))), max_size=9))
def test_guards_never_make_a_cycle(drawn: list[tuple[str, set[int]]]) -> None:
    """Needs point backwards in the file, so any cycle would come from the guards' own edges."""
    steps = [step(f"s{i}", *(f"s{n}" for n in needs if n < i), uses=uses) for i, (uses, needs) in enumerate(drawn)]
    found = graph(*steps)
    place = {name: number for number, name in enumerate(found.order())}
    assert all(place[before] < place[name] for name in place for before in found.predecessors(name))
