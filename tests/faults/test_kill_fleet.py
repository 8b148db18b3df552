"""A cluster's processes are killed and frozen at moments drawn by a seed; every child makes its point once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disks import SEED
from tests.fleet.cluster import Cluster
from tests.fleet.night import Night

ROUNDS = 30

ITEMS = {"vm0": "north", "vm1": "north", "vm2": "south", "vm3": "south", "vm4": "", "vm5": ""}
"""Item → the node host that reads its disks."""

WORKERS = {"a": "north", "b": "south", "c": "south"}
AT_ONCE = 4
SLICES = 25


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.mark.torture
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_child_makes_its_point_once_whatever_is_killed(cluster: Cluster, number: int) -> None:
    items = {name: cluster.item(name, slices=SLICES, host=host) for name, host in ITEMS.items()}
    night = Night(
        cluster,
        random.Random(f"{SEED} {number}"),
        WORKERS,
        lambda: cluster.controller(AT_ONCE),
        lambda: [root / "alone" for root in items.values()],
        within=5,
    )
    night.run(timeout=100)
    ended = {each["key"]: each["exit_code"] for each in cluster.ended()}
    assert ended == dict.fromkeys((f"toys@{name}" for name in ITEMS), 0), night.story()
    for name, root in items.items():
        assert len(list(root.glob("point-*"))) == 1, f"{name}\n{night.story()}"
        assert (root / "done").stat().st_size == SLICES
        assert not list(root.glob("moment-*")), f"{name} holds a snapshot\n{night.story()}"
    assert 1 < night.most <= AT_ONCE, night.story()
    assert phases(cluster) == {"finished"}


def phases(cluster: Cluster) -> set[str]:
    """Those of all runs."""
    return {json.loads(record.read_text())["phase"] for record in cluster.directory.glob("state/**/run.json")}
