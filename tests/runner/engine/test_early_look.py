"""What a run asks beside its first nodes, by the job file alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.base.errors import HostError, Interrupted
from runner.engine.early_look import early_look
from runner.engine.observer import Blind
from runner.events.events import Event, Warned
from runner.job.nodes import NodeId
from runner.step.preflight import Known, Preflight
from runner.step.step import AnyStep
from tests.runner.toys import ahead, backup_like


class Asked(Blind):
    """`answer` is asked of each step, with what the job file tells of it."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], None]) -> None:
        self._answer = answer

    def preflight(self, name: NodeId | str, kind: AnyStep, known: Known[Any, Any]) -> Preflight[Any]:
        assert known.inputs is None
        self._answer(str(name), dict(known.told))
        return Preflight()


def look(
    root: Path, answer: Callable[[str, dict[str, Any]], None], beside: Callable[[], object]
) -> list[tuple[str, str]]:
    """What was warned of."""
    (root / "items").write_text("1=one")
    told: list[Event] = []
    with (
        ahead(root, backup_like(root)) as (nodes, resolver, _),
        early_look(nodes, resolver, lambda over: Asked(answer), told.append),
    ):
        beside()
    return [(event.node, event.text) for event in told if isinstance(event, Warned)]


def test_steps_are_asked_beside_the_first_nodes_and_with_what_the_job_file_tells(tmp_path: Path) -> None:
    told: dict[str, dict[str, Any]] = {}
    begun, goes_on = threading.Event(), threading.Event()

    def answer(step: str, known: dict[str, Any]) -> None:
        told[step] = known
        if step == "make":
            begun.set()
            assert goes_on.wait(10)

    def beside() -> None:
        assert begun.wait(10)
        goes_on.set()

    look(tmp_path, answer, beside)
    assert told["make"] == {"root": str(tmp_path), "speed": 1}
    assert goes_on.is_set()


def test_what_cannot_be_asked_early_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    def answer(step: str, known: dict[str, Any]) -> None:
        raise HostError("store cannot be reached", transient=True)

    assert look(tmp_path, answer, lambda: None) == []


def test_a_bug_in_an_early_look_is_told_and_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    asked = threading.Event()

    def answer(step: str, known: dict[str, Any]) -> None:
        if step == "make":
            asked.set()
            raise ZeroDivisionError("by nothing")

    told = look(tmp_path, answer, lambda: asked.wait(10))
    assert told == [("make", "looking at it early met a bug: ZeroDivisionError: by nothing")]


def test_what_does_not_answer_is_left_at_the_end(tmp_path: Path) -> None:
    waits, told = threading.Event(), list[Event]()

    def observing(over: threading.Event) -> Asked:
        def answer(step: str, known: dict[str, Any]) -> None:
            waits.set()
            assert over.wait(10)
            raise Interrupted

        return Asked(answer)

    with (
        ahead(tmp_path, backup_like(tmp_path)) as (nodes, resolver, _),
        early_look(nodes, resolver, observing, told.append),
    ):
        assert waits.wait(10)
    assert told == []
