"""A run is killed at every kind of moment; the same command then finishes it, and nothing is wrong, lost or left over."""

from __future__ import annotations

import pytest

from tests.faults import ending
from tests.faults.disks import INVENTORY
from tests.faults.moments import Kill, chosen
from tests.faults.scene import Scene

__all__ = ["INVENTORY"]


@pytest.mark.parametrize("kill", chosen(), ids=str)
def test_a_killed_run_is_finished_by_the_same_command(scene: Scene, kill: Kill):
    code = scene.kill(kill)
    assert code == -9 if kill.of_the_run and scene.kills else code in (0, 1)
    scene.finish(code, kill)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)
    ending.assert_within_window(scene.site, scene.before, scene.kills)
    assert ending.Before.of(scene.site).created == scene.before.created + 1, "another snapshot was taken"
