"""An incremental is killed at every kind of moment; the same command then finishes it, on the parent it was begun on."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.lab.lab import Lab
from steps.lab.sshd import Sshd
from tests.e2e.site import Site
from tests.faults import disks, ending
from tests.faults.conftest import small_job
from tests.faults.disks import KEYS, SIZES
from tests.faults.moments import STEPS, Kill, kills_at
from tests.faults.scene import Scene
from tests.faults.victims import Zygote

INVENTORY = {
    "datacenters": [
        one | {"vms": [vm | {"change-tracking": True} for vm in one["vms"]]} for one in disks.INVENTORY["datacenters"]
    ]
}

SOME = (
    Kill("runner", "intent parent[2001]", again="parent[2001]"),
    Kill("runner", "copied 2000:50", kept="parent[2000]", again="transfer[2000]"),
    Kill("qemu-nbd", "copied 2000:50", 0.01),
    Kill("group", "acted publish", kept="publish"),
)

NIGHTS = count(1)


INCREMENTAL = tuple(replace(step, acted="again") if step.node == "image[*]" else step for step in STEPS)
"""An image backed by another one is recreated as long as it is not recorded: it may be of an earlier moment."""


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    return tuple(kills_at(INCREMENTAL)) + SOME if "TORTURE" in environment else SOME[1:2]


@pytest.fixture(scope="module")
def parent(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full."""
    ran = Site(lab, tmp_path_factory.mktemp("full")).run("vm")
    assert ran.exit_code == 0, ran.error
    return ran.points()[0]


@pytest.fixture
def night(site: Site, hub: Sshd, zygote: Zygote, parent: Path, tmp_path: Path) -> Iterator[Scene]:
    """After a day in which the guest rewrote most of the first disk, and a little of the second."""
    chance = random.Random(next(NIGHTS))
    half = SIZES[0] // 2 * MiB
    site.lab.write("vm", KEYS[0], half // 2, (chance.randbytes(MiB) for _ in range(half // MiB)))
    site.lab.write("vm", KEYS[0], half // 2 + half // 4, iter([bytes(MiB)]))
    site.lab.write("vm", KEYS[1], chance.randrange(10) * MiB + 512, iter([chance.randbytes(512)]))
    yield Scene(site, hub, zygote, small_job(site), tmp_path / "runs")
    zygote.end()
    if site.snapshots() or site.partials():  # the test failed: the next one begins with a fresh run all the same
        site.run(small_job(site), fresh=True)
    for point in set(site.points()) - {parent}:
        shutil.rmtree(point)


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_incremental_is_finished_on_its_parent_by_the_same_command(night: Scene, parent: Path, kill: Kill):
    code = night.kill(kill)
    night.finish(code, kill)
    point = ending.assert_one_right_point(night.site, night.before)
    manifest = json.loads((point / "manifest.json").read_text())
    assert {disk["parent"] for disk in manifest["disks"]} == {parent.name}
    ending.assert_nothing_left(night.site, night.directory)
    assert ending.Before.of(night.site).created == night.before.created + 1, "another snapshot was taken"
