"""Graphs without cycles: order, levels, and the edges that say something of their own."""

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.dag import Dag


def dag(nodes: str, *edges: str) -> Dag[str]:
    """``dag("abc", "ab", "bc")``: a before b before c."""
    made = Dag(nodes)
    made.add((edge[0], edge[1]) for edge in edges)
    return made


def test_an_edge_that_a_longer_way_says_as_well_is_left_out() -> None:
    assert dag("abcd", "ab", "bc", "ac", "ad", "dc").reduced() == (("a", "b"), ("a", "d"), ("b", "c"), ("d", "c"))


def test_a_node_stands_beside_what_it_is_for() -> None:
    found = dag("abcxy", "ab", "bc", "xc", "ay")
    assert found.levels() == {"a": 0, "b": 1, "c": 2, "x": 1, "y": 1}, "x as late as c allows, y for nothing: as early"


@given(st.sets(st.sampled_from(list(itertools.combinations(range(10), 2)))))
@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine under load is slow, whatever is drawn
def test_levels_rise_along_every_edge_and_reducing_keeps_who_comes_before_whom(edges: set[tuple[int, int]]) -> None:
    whole, reduced = Dag(range(10)), Dag(range(10))
    whole.add(edges)
    reduced.add(whole.reduced())
    assert all(whole.levels()[before] < whole.levels()[behind] for before, behind in edges)
    assert all(whole.ancestors(node) == reduced.ancestors(node) for node in range(10))


def test_cycles_are_named_from_the_node_that_stands_first() -> None:
    assert dag("abcxy", "ba", "ab", "xy", "yx", "cc").cycles() == [("a", "b"), ("c",), ("x", "y")]
    assert dag("ab", "ab").cycles() == []
