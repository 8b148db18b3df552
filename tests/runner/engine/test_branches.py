"""Work on nodes that goes side by side, as far as one does not depend on another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner.engine.branches import side_by_side
from runner.job.nodes import NodeId
from tests.eventually import eventually


@dataclass(frozen=True)
class Named:
    """As much of a node as is asked for."""

    id: NodeId


def work_on(below: dict[str, str], act: Callable[[str], object]) -> None:
    """`below`: what each node waits for, all with names of a letter."""
    nodes: Any = [Named(NodeId(name)) for name in below]
    side_by_side(nodes, lambda node: {NodeId(name) for name in below[node.id.step]}, lambda node: act(node.id.step))


def is_done_with_it(thread: int) -> bool:
    """Whether that thread of a pool looks for more to do, or has found it: this."""
    return thread == threading.get_ident() or sys._current_frames()[thread].f_code.co_name == "_worker"


def test_after_a_failure_what_was_begun_ends_and_no_more_begins() -> None:
    begun: dict[str, int] = {}

    def act(name: str) -> None:
        begun[name] = threading.get_ident()
        if name == "a":
            raise OSError(name)
        assert eventually(lambda: "a" in begun and is_done_with_it(begun["a"]))

    with pytest.raises(OSError, match="a"):
        work_on({"a": "", "b": "", "c": "b"}, act)
    assert begun.keys() == {"a", "b"}


def test_of_several_failures_the_first_in_the_order_of_nodes_is_told() -> None:
    both = threading.Barrier(2)

    def act(name: str) -> None:
        both.wait(10)
        raise OSError(name)

    with pytest.raises(OSError, match="a"):
        work_on({"a": "", "b": ""}, act)


def test_a_node_waits_for_those_among_them_only() -> None:
    done: list[str] = []
    work_on({"c": "b", "b": "a", "a": "x"}, done.append)
    assert done == ["a", "b", "c"]
