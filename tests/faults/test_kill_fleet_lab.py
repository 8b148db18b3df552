"""`sendense run --on dask` of a set in a lab, while processes of its cluster are killed and frozen: every VM has exactly
one good point, and nothing is left."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.site import Site, disk, inventory, same
from tests.faults.disks import SEED, TORTURE
from tests.fleet.cluster import Cluster
from tests.fleet.night import Night

ROUNDS = 10 if TORTURE else 1

VMS = [f"vm{number}" for number in range(6 if TORTURE else 4)]
WORKERS = {"a": "north", "b": "south", "c": "south"}
AT_ONCE = 3


def uuid(vm: str) -> str:
    return f"5013e3a5-0000-4000-8000-00000000000{vm[-1]}"


def machine(vm: str) -> dict[str, Any]:
    return {"name": vm, "instance-uuid": uuid(vm), "disks": [disk(2000, "8 MiB", 0, int(vm[-1]))]}


INVENTORY = inventory(*map(machine, VMS))


@pytest.fixture
def cluster(site: Site, tmp_path: Path) -> Iterator[Cluster]:
    directory = tmp_path / "cluster"
    directory.mkdir()
    with Cluster(directory) as cluster:
        yield cluster


def written(site: Site, cluster: Cluster) -> Path:
    """The set, whose disks are read at the node host `south`."""
    member = cluster.identity
    dask = {"scheduler": cluster.address, "ca": str(member.ca), "cert": str(member.cert), "key": str(member.key)}
    document = {
        "version": 1,
        "include": "site.yaml",
        "template": "backup",
        "name": f"set-{cluster.directory.parent.name}",
        "fleet": {"dask": dask},
        "hosts": {"south": "local"},
        "state": {"in": "repositories.main"},
        "select": {"from": "vcenters.lab", "any": [{"name": "vm*"}]},
        "vars": {"repository": "main", "transport": "https", "cbt": "enable", "node": "south"},
    }
    path = site.directory / "fleet.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_vm_has_one_good_point_whatever_is_killed(site: Site, cluster: Cluster, number: int) -> None:
    job = written(site, cluster)
    before = set(site.points())
    argv = [sys.executable, "-P", "-m", "runner.cli", "run", str(job), "--on=dask", f"--parallel={AT_ONCE}"]
    night = Night(
        cluster,
        random.Random(f"{SEED} {number}"),
        WORKERS,
        lambda: cluster.start("controller", argv),
        lambda: site.repository.glob("vm*/.lock"),
        within=12,
    )
    night.run(timeout=240)
    points = set(site.points()) - before
    assert sorted(point.parent.name[-36:] for point in points) == sorted(map(uuid, VMS)), night.story()
    for point in points:
        assert same(site.source(point.parent.name[:3], 2000), point / "disk-2000.qcow2"), night.story()
    assert site.snapshots() == [], night.story()
    assert site.partials() == []
    assert 1 < night.most <= AT_ONCE, night.story()
