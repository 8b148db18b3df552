"""A restore into vCenter through an import lease is killed at every kind of moment; the same command then finishes it, from
the compressed disks where they are, and discarding it leaves nothing."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from steps.lab.lab import Lab
from steps.lab.sshd import Sshd
from tests.chains import Reference, incremental, reference
from tests.e2e.site import Site
from tests.faults import ending
from tests.faults.disks import INVENTORY, KEYS, SEED, SIZES, TORTURE
from tests.faults.moments import Kill, Step, kills_at
from tests.faults.scene import Scene
from tests.faults.victims import Zygote

__all__ = ["INVENTORY"]

STEPS = (
    Step("plan", (), "again", "again", "again"),
    Step("spool[*]", ("sshd", "ssh", "qemu-nbd"), "again", "again"),
    Step("created", ("sshd",), "again", "kept"),
    Step("check[*]", ("sshd", "nbdkit"), "again", "again"),
    Step("finalize", ("sshd",), "again", "kept"),
)


@dataclass
class Importing(Scene):
    """Of a VM that is called as the test's directory."""

    there: list[str] = field(default_factory=list)
    """Directories of the datastore before."""


def places(share: int) -> tuple[str, ...]:
    """Of the first disk: how much of it was compressed, and how much of its stream was sent."""
    return (f"compressed {SIZES[0]}:{share}", f"sent ParaVirtualSCSIController0:0:{share}")


SOME = (
    Kill("runner", f"sent ParaVirtualSCSIController0:0:{50}", again="created"),
    Kill("runner", "acted created", kept="created"),
    Kill("runner", f"compressed {SIZES[0]}:30", again="spool[2000]"),
    Kill("group", "intent created", again="created"),
    Kill("qemu-nbd", f"compressed {SIZES[0]}:40"),
)


def random_kills(count: int) -> Iterator[Kill]:
    chance = random.Random(SEED)
    for _ in range(count):
        moment = chance.choice(places(chance.randrange(1, 95)))
        yield Kill(chance.choice(("runner", "group")), moment, chance.randrange(200) / 1000)


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    """The first two where every change is tested; with TORTURE=<number> all, and that many at random moments."""
    if not TORTURE:
        return SOME[:2]
    return (*kills_at(STEPS), *SOME, *random_kills(int(environment["TORTURE"])))


@pytest.fixture(scope="module")
def point(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """An incremental."""
    directory = tmp_path_factory.mktemp("references")
    ran = Site(lab, directory / "state").run("vm")
    assert ran.exit_code == 0, ran.error
    made = incremental(reference(ran.points()[0], directory), directory, seed=1)
    shutil.copytree(ran.points()[0] / "vm", made.point / "vm", dirs_exist_ok=True)
    return made


def steps(point: str, name: str, spool: Path) -> list[dict[str, Any]]:
    each = {"disk": "${{ plan.disks }}"}
    return [
        {"id": "point", "uses": "open-point", "with": {"repository": "main", "point": point}},
        {"id": "plan", "uses": "plan-vm", "with": {"point": "${{ point }}", "vcenter": "lab", "name": name}},
        {"id": "source", "uses": "serve-image", "each": each, "with": {"image": "${{ disk.stored.image }}"}},
        {
            "id": "spool",
            "uses": "spool-disk",
            "each": each,
            "with": {"plan": "${{ plan }}", "disk": "${{ disk }}", "source": "${{ source }}", "directory": str(spool)},
            "retries": 5,
        },
        {
            "id": "created",
            "uses": "import-vm",
            "with": {"plan": "${{ plan }}", "disks": "${{ spool }}", "sources": "${{ source }}"},
            "retries": 5,
        },
        {
            "id": "view",
            "uses": "open-vm-disk",
            "each": each,
            "with": {"vm": "${{ created }}", "disk": "${{ disk.stored }}"},
        },
        {
            "id": "check",
            "uses": "check-vm-disk",
            "each": each,
            "with": {"vm": "${{ created }}", "disk": "${{ disk.stored }}", "view": "${{ view }}"},
            "retries": 5,
        },
        {
            "id": "finalize",
            "uses": "finalize-vm",
            "with": {"plan": "${{ plan }}", "vm": "${{ created }}", "disks": "${{ check }}"},
        },
    ]


@pytest.fixture
def importing(site: Site, hub: Sshd, zygote: Zygote, point: Reference, tmp_path: Path) -> Iterator[Importing]:
    job = site.write_job(tmp_path.name, steps(str(point.point), tmp_path.name, tmp_path / "spool"))
    scene = Importing(site, hub, zygote, job, tmp_path / "runs")
    scene.there = directories(site)
    yield scene
    zygote.end()
    assert set(scene.there) <= set(directories(site)), "a VM of somebody else is gone"


def datastore(site: Site) -> Path:
    return site.source("vm", KEYS[0]).parents[1]


def directories(site: Site) -> list[str]:
    return sorted(path.name for path in datastore(site).iterdir())


def disk_file(site: Site, named: str) -> Path:
    """The bytes of ``[datastore1] dir/x.vmdk``."""
    path = datastore(site) / named.partition("] ")[2]
    return path.with_name(f"{path.stem}-flat.vmdk")


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_import_is_finished_by_the_same_command(
    importing: Importing, point: Reference, kill: Kill, tmp_path: Path
):
    code = importing.kill(kill)
    if kill.self_healing:
        assert code == 0, f"it did not heal: {importing.said}"
    importing.until_done(code)
    assert len(importing.ids()) == 1
    assert {kill.kept, ""} & {*importing.kept(), ""} == {kill.kept, ""}, importing.acted()
    assert {kill.again, ""} & {*importing.acted(), ""} == {kill.again, ""}, importing.kept()
    assert_one_vm(importing, point)
    assert not list((tmp_path / "spool").glob("*")), "compressed disks were left"
    ending.assert_no_process_left(importing.site, importing.directory)


def assert_one_vm(importing: Importing, point: Reference) -> None:
    """Whole, under its name, and nothing beside it."""
    made = importing.output("created")
    (directory,) = {path.parent for path in files_of(importing, made)}
    assert directories(importing.site) == sorted([*importing.there, directory.name])
    for path, disk in zip(files_of(importing, made), made["disks"], strict=True):
        assert filecmp.cmp(path, point.disks[disk["key"]], shallow=False), f"disk {disk['key']} is another"
    assert importing.output("finalize")["name"] == importing.job.stem


def files_of(importing: Importing, made: Mapping[str, Any]) -> list[Path]:
    return [disk_file(importing.site, disk["file"]) for disk in made["disks"]]


@pytest.mark.parametrize("moment", (*places(50), "acted created"))
def test_a_killed_import_that_is_discarded_leaves_nothing(importing: Importing, moment: str, tmp_path: Path):
    importing.kill(Kill("runner", moment))
    (run,) = importing.ids()
    assert importing.run("sweep", "--abandon", run) == 0, importing.said
    assert directories(importing.site) == importing.there
    assert not list((tmp_path / "spool").glob("*")), "compressed disks were left"
