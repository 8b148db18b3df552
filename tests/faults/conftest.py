"""The lab of a test module, as for the tests of the whole, with a hub that can be restarted and runs to be killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.app.options import Options, read_job
from runner.job.writer import write_out
from steps.lab.lab import Lab
from steps.lab.sshd import Sshd
from tests.e2e.conftest import lab, site
from tests.e2e.site import Site
from tests.faults.disks import TORTURE, WINDOW
from tests.faults.scene import Scene
from tests.faults.victims import Zygote

__all__ = ["hub", "lab", "scene", "site", "zygote"]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


@pytest.fixture(scope="module")
def hub(lab: Lab) -> Iterator[Sshd]:
    """The hub's sshd; once restarted it is a child of ours."""
    hub = Sshd(lab.directory / "store" / "sshd")
    yield hub
    hub.stop()


@pytest.fixture
def scene(site: Site, hub: Sshd, zygote: Zygote, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(site, hub, zygote, small_job(site), tmp_path / "runs")
    yield scene
    zygote.end()
    if site.snapshots() or site.partials():  # the test failed: the next one begins with a fresh run all the same
        site.run(scene.job, fresh=True)
    for point in site.points():
        shutil.rmtree(point)  # a hundred of them would fill the disk


def small_job(site: Site) -> Path:
    """The standard backup with a small window, and one ssh process with two connections a disk: enough to go wrong, and
    cheaper than four."""
    connections = 4 if TORTURE else 1
    document = yaml.safe_load(write_out(read_job(site.job("vm"), Options(overrides={"connections": str(connections)}))))
    by_id = {step["id"]: step for step in document["steps"]}
    by_id["transfer"]["with"]["window"] = WINDOW
    path = site.directory / "jobs" / "killed.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path
