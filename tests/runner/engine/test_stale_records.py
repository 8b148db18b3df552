"""A record that is not of the same step, of its version and of the same inputs says nothing of a node: it is done again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.records import rewrite
from tests.runner.toys import Bench, Make, backup_like


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A run that made all, copied one of two, and failed."""
    (tmp_path / "items").write_text("1=one 2=two")
    (tmp_path / "fail-copy[2]").write_text("permanent")
    bench = Bench(tmp_path, backup_like(tmp_path))
    assert not bench.run().work_done
    bench.trace()
    return bench


def uses(bench: Bench, step: str, kind: str) -> None:
    bench.steps = tuple(replace(spec, uses=kind) if spec.id == step else spec for spec in bench.steps)


def why(bench: Bench, node: str) -> str:
    return next(planned.why for planned in bench.plan().nodes if planned.id == node)


def records(bench: Bench, node: str) -> list[Path]:
    return list(bench.root.glob(f"state/*/*/nodes/{node}*.json"))


def test_a_node_whose_uses_changed_is_done_again_after_what_the_other_step_made_is_undone(bench: Bench):
    uses(bench, "make", "remake")
    assert why(bench, "make[1]") == "the job uses remake for it now, not make"
    assert bench.run().work_done
    trace = bench.trace()
    for node in ("1", "2"):
        assert (
            trace.index(f"undo make[{node}]") < trace.index(f"remake make[{node}]") < trace.index(f"run copy[{node}]")
        )
    assert (bench.root / "made-1").read_text() == "ONE"


def test_what_stands_on_a_process_whose_uses_changed_is_done_again(bench: Bench):
    assert why(bench, "copy[1]") == "completed earlier"
    uses(bench, "relay", "tube")
    assert why(bench, "copy[1]") == "input changed: served"


def test_a_snapshot_of_another_step_is_released_before_a_new_one_is_taken(bench: Bench):
    uses(bench, "hold", "rehold")
    assert bench.run().work_done
    trace = bench.trace()
    assert trace.index("undo hold") < trace.index("run hold")


def test_a_node_is_done_again_by_another_version_of_its_step(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Make, "version", 2)
    assert why(bench, "make[1]") == "step make changed (version 1 → 2)"
    assert bench.run().work_done
    assert {"run make[1]", "run copy[1]"} <= set(bench.trace())


CHANGES: list[Any] = [
    pytest.param(lambda record: record["fields"].update(item="0" * 64), "make[1]", "input changed: item", id="field"),
    pytest.param(
        lambda record: record.update(digest="0" * 64), "make[1]", "its record is of other inputs", id="digest"
    ),
]


@pytest.mark.parametrize(("change", "node", "reason"), CHANGES)
def test_a_node_is_done_again_if_the_digest_of_its_inputs_differs(
    bench: Bench, change: Callable[[dict[str, Any]], object], node: str, reason: str
):
    def stale(record: dict[str, Any]) -> None:
        change(record)
        record["digest"] = "0" * 64

    for path in records(bench, "make[[]i1"):
        rewrite(path, stale)
    assert why(bench, node) == reason
    assert bench.run().work_done
    assert f"run {node}" in bench.trace()


def test_a_record_of_a_step_that_is_not_installed_any_more_is_done_again_and_crashes_nothing(bench: Bench):
    for path in records(bench, "make"):
        rewrite(path, lambda record: record.update(step="forge"))
    assert why(bench, "make[2]") == "the job uses make for it now, not forge"
    assert bench.run().work_done
    assert {"run make[1]", "run make[2]"} <= set(bench.trace())
