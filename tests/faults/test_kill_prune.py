"""A prune is killed at every kind of moment; every point that is there reads as it did, and the same command finishes it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from runner.base.units import KiB, MiB
from runner.hosts.local import LocalHost
from steps.lab.sshd import Sshd
from steps.points import stored
from steps.repository import layout, verification_records
from steps.repository.verification_records import Protection
from tests.chain import FIRST, Chain, point_name
from tests.e2e.site import Site
from tests.faults import ending
from tests.faults.disks import INVENTORY
from tests.faults.moments import Kill
from tests.faults.scene import Scene
from tests.faults.victims import Zygote
from tests.hub import INSTANCE

__all__ = ["INVENTORY"]

OLDEST, BECOMES_FULL, MIDDLE, REBASED = (point_name(number, FIRST + timedelta(days=number)) for number in range(4))
"""Oldest and middle go: the second becomes a full, the last is put on it."""

NODE = f"prune[{layout.vm_directory('pgtest1', INSTANCE)}]"

MOMENTS = (
    f"intent {NODE}",
    "doing popen cp",
    "did popen cp",
    "did popen qemu-img rebase",
    "did popen qemu-img commit",
    "doing write moving.json",
    "did write moving.json",
    f"did rename {layout.image(2000)}",
    "did write manifest.json",
    "did remove moving.json",
    f"did remove {BECOMES_FULL}{layout.REBUILT}",
    f"doing rename {MIDDLE}",
    f"did rename {MIDDLE}",
    f"did remove {MIDDLE}{layout.DROPPED}",
    f"did rename {OLDEST}",
    f"acted {NODE}",
    f"done {NODE}",
)

SOME = (Kill("runner", f"did rename {layout.image(2000)}"), Kill("sshd", "did popen qemu-img commit"))


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    if "TORTURE" not in environment:
        return SOME
    return (
        *(Kill(what, moment) for moment in MOMENTS for what in ("runner", "group", "sshd")),
        Kill("qemu-img", MOMENTS[3]),
    )


@pytest.fixture
def made(site: Site) -> Iterator[Chain]:
    chain = Chain(site.repository)
    chain.add({2000: None}, {2000: ((0, 3 * MiB, 1),)})
    chain.add({2000: 0}, {2000: ((MiB, 200 * KiB, 2),)})
    chain.add({2000: 1}, {2000: ((0, 64 * KiB, 3), (2 * MiB, MiB, 0))})
    chain.add({2000: 2}, {2000: ((MiB + 64 * KiB, 512, 4),)})
    assert chain.points == [OLDEST, BECOMES_FULL, MIDDLE, REBASED]
    until = datetime.now(UTC) + timedelta(days=1)
    kept = Protection(until=until, reason="it is needed", at=datetime.now(UTC))
    verification_records.write(LocalHost("hub"), str(chain.path(1)), kept)
    yield chain
    shutil.rmtree(chain.directory)


@pytest.fixture
def pruning(site: Site, hub: Sshd, zygote: Zygote, made: Chain, tmp_path: Path) -> Iterator[Scene]:
    job = site.directory / "jobs" / "prune-killed.yaml"
    values = {"repository": "main", "retention": {"keep-last": 1}}
    document = {"version": 1, "name": tmp_path.name, "include": "../site.yaml", "template": "prune", "vars": values}
    job.write_text(yaml.safe_dump(document))
    yield Scene(site, hub, zygote, job, tmp_path / "runs")
    zygote.end()


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_prune_is_finished_by_the_same_command(pruning: Scene, made: Chain, kill: Kill):
    code = pruning.kill(kill)
    # A rebase of so little may be over before it is hit.
    assert pruning.kills == 1 or kill.what == "qemu-img", f"nothing was killed at {kill.moment}"
    there = made.whole()
    assert there >= {BECOMES_FULL, REBASED}
    for point in there:
        stored.read(LocalHost("hub"), str(made.root), str(made.directory / point))
    pruning.until_done(code)
    assert made.whole() == {BECOMES_FULL, REBASED}, pruning.said
    assert (parent(made, BECOMES_FULL), parent(made, REBASED)) == (None, BECOMES_FULL)
    there = {path.name for path in made.directory.iterdir() if path.is_dir()}
    assert {name for name in there if layout.point_of_marks(name) is None} == {BECOMES_FULL, REBASED}
    assert {layout.point_of_marks(name) for name in there} <= {None, BECOMES_FULL, REBASED}
    left = [path.name for point in (BECOMES_FULL, REBASED) for path in (made.directory / point).iterdir()]
    assert not [name for name in left if layout.REBUILT in name or name == layout.MOVING]
    ending.assert_no_process_left(pruning.site, pruning.directory)


def parent(made: Chain, point: str) -> str | None:
    (disk,) = json.loads((made.directory / point / layout.MANIFEST).read_text())["disks"]
    return disk["parent"]
