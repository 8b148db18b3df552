"""How many connections a copy uses, from the round trip, the cores and the job's limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.nbd.parallelism import Parallelism, choose


def test_without_ssh_there_is_no_ssh_process() -> None:
    assert choose(round_trip=None, cores=8).ssh_processes == 0


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 1), (4, 2), (64, 4)])
def test_on_a_short_wire_the_cores_decide(cores: int, processes: int) -> None:
    assert choose(round_trip=0.0002, cores=cores) == Parallelism(processes, processes)


@pytest.mark.parametrize(
    ("round_trip", "chosen"),
    [(0.005, Parallelism(1, 2)), (0.02, Parallelism(4, 8)), (0.1, Parallelism(4, 16)), (1.0, Parallelism(4, 16))],
)
def test_a_long_wire_gets_as_many_windows_as_fill_it(round_trip: float, chosen: Parallelism) -> None:
    assert choose(round_trip=round_trip, cores=2) == chosen


wires = st.one_of(st.none(), st.floats(0, 10))


@given(wires, st.integers(1, 32), st.integers(1, 256))
def test_the_limit_is_never_passed_and_each_ssh_process_carries_as_many(
    round_trip: float | None, limit: int, cores: int
) -> None:
    chosen = choose(round_trip=round_trip, limit=limit, cores=cores)
    assert 1 <= chosen.connections <= limit
    assert chosen.ssh_processes == 0 or chosen.connections % chosen.ssh_processes == 0


@given(st.floats(0, 10), st.floats(0, 10), st.integers(1, 256))
def test_a_longer_wire_never_gets_fewer(one: float, other: float, cores: int) -> None:
    shorter, longer = (choose(round_trip=wire, cores=cores) for wire in sorted((one, other)))
    assert shorter.connections <= longer.connections
    assert shorter.ssh_processes <= longer.ssh_processes
