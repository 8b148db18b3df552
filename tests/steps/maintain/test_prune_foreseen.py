"""What a plan of a backup says of the points that its retention would drop, before its own point is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from steps.points import retention_plan
from steps.repository.retention import Policy
from tests.chain import BRAKE, NOW, Chain, prune
from tests.hub import INSTANCE, Hub


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param({"keep_last": 1}, id="last"),
        pytest.param({"keep_last": 3}, id="some"),
        pytest.param({"keep_last": 9}, id="all"),
        pytest.param({"keep_daily": 2, "keep_weekly": 2}, id="periods"),
    ],
)
def test_the_points_that_go_are_those_that_go_once_the_new_one_is_there(hub: Hub, rules: dict[str, int]) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, MiB, 1),)})
    for number in range(3):
        made.add({2000: number}, {2000: ((MiB, 64 * KiB, number + 2),)})
    before = sorted(path.name for path in made.directory.rglob("*"))
    foreseen = retention_plan.foreseen(hub.host, hub.root, INSTANCE, Policy(**rules), NOW, BRAKE)
    assert foreseen is not None
    assert sorted(path.name for path in made.directory.rglob("*")) == before, "a plan leaves nothing behind"
    made.add({2000: 3}, {2000: ((2 * MiB, 64 * KiB, 9),)}, at=NOW)
    assert foreseen.plan.drops == tuple(gone.point for gone in prune(hub, made, **rules).dropped)


def test_of_a_vm_without_points_nothing_goes(hub: Hub) -> None:
    assert retention_plan.foreseen(hub.host, hub.root, INSTANCE, Policy(keep_last=1), NOW, BRAKE) is None
