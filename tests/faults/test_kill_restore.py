"""A restore is killed at every kind of moment; the same command then finishes it, inside the disk where it can."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from runner.base.units import MiB
from runner.events.events import NodeProgress
from steps.lab.lab import Lab
from steps.lab.sshd import Sshd
from tests.chains import Reference, incremental, reference
from tests.e2e.site import Site
from tests.faults import ending
from tests.faults.disks import INVENTORY, KEYS, SIZES, WINDOW
from tests.faults.moments import Kill, Step, kills_at
from tests.faults.scene import Scene
from tests.faults.victims import Zygote

__all__ = ["INVENTORY"]

STEPS = (
    Step("point", (), "again", "again", "again"),
    Step("target[*]", ("sshd",), "again", "kept"),
    Step("restore[*]", ("sshd", "ssh", "qemu-nbd"), "again", "again"),
    Step("check[*]", ("sshd", "ssh", "qemu-nbd"), "again", "again"),
    Step("finalize", ("sshd",), "again", "kept"),
)

SOME = (
    Kill("runner", "intent target[2001]", again="target[2001]"),
    Kill("runner", "copied 2000:60", again="restore[2000]"),
    Kill("qemu-nbd", "copied 2000:30"),
    Kill("runner", "acted finalize", kept="finalize"),
)


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    return tuple(kills_at(STEPS)) + SOME if "TORTURE" in environment else SOME[1:2]


@pytest.fixture(scope="module")
def point(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """An incremental."""
    directory = tmp_path_factory.mktemp("references")
    ran = Site(lab, directory / "state").run("vm")
    assert ran.exit_code == 0, ran.error
    return incremental(reference(ran.points()[0], directory), directory, seed=1)


@pytest.fixture
def restoring(site: Site, hub: Sshd, zygote: Zygote, point: Reference, tmp_path: Path) -> Iterator[Scene]:
    """Of raw files, into ``restored`` of the test's directory."""
    values = {
        "repository": "main",
        "point": str(point.point),
        "directory": str(tmp_path / "restored"),
        "format": "raw",
        "connections": 2,
        "window": WINDOW,
    }
    job = site.directory / "jobs" / "restore.yaml"
    document = {"version": 1, "name": tmp_path.name, "include": "../site.yaml", "template": "restore", "vars": values}
    job.write_text(yaml.safe_dump(document))
    yield Scene(site, hub, zygote, job, tmp_path / "runs")
    zygote.end()


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_restore_is_finished_by_the_same_command(
    restoring: Scene, point: Reference, kill: Kill, tmp_path: Path
):
    code = restoring.kill(kill)
    if code != 0 and not kill.moment.endswith(" finalize"):
        left = sorted((tmp_path / "restored").glob("*"))
        assert all(file.name.endswith(".partial") for file in left), "a final name came before its time"
    restoring.finish(code, kill)
    if kill.of_the_run and kill.moment.startswith("copied"):
        share = int(kill.moment.partition(":")[2])
        assert skipped(restoring) >= share * SIZES[0] * MiB // 100, "it began again at the disk's start"
    files = sorted((tmp_path / "restored").iterdir())
    assert [file.name for file in files] == [f"vm-disk-{key}.raw" for key in KEYS]
    assert all(filecmp.cmp(file, raw, shallow=False) for file, raw in zip(files, point.disks.values(), strict=True))
    ending.assert_no_process_left(restoring.site, restoring.directory)


def skipped(restoring: Scene) -> int:
    """Bytes of the first disk that the last run did not copy again."""
    told = [event for event in restoring.runs[-1] if isinstance(event, NodeProgress)]
    return max(event.skipped for event in told if event.node == "restore[2000]" and event.phase == "restore")
