"""VMs that come back into vCenter by runs that are killed: of one incremental point, and what must be there in the end."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import JsonValue

from steps.lab.lab import Lab
from steps.lab.sshd import Sshd
from tests.chains import Reference, incremental, reference
from tests.e2e.site import Site
from tests.faults.disks import KEYS
from tests.faults.scene import Scene
from tests.faults.victims import Zygote


@dataclass
class Comeback(Scene):
    """Of a VM that is called as the job."""

    there: list[str] = field(default_factory=list)
    """Directories of the datastore before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.there = directories(self.site)

    def assert_no_other_vm_is_gone(self) -> None:
        assert set(self.there) <= set(directories(self.site)), "a VM of somebody else is gone"

    def files(self) -> dict[int, Path]:
        """With the bytes of its disks, by their keys in the point."""
        made: Mapping[str, Any] = self.output("created")
        return {disk["key"]: disk_file(self.site, disk["file"]) for disk in made["disks"]}

    def assert_one_vm(self, point: Reference) -> None:
        """Whole, under its name, and nothing beside it."""
        files = self.files()
        (directory,) = {path.parent for path in files.values()}
        assert directories(self.site) == sorted([*self.there, directory.name])
        for key, path in files.items():
            assert filecmp.cmp(path, point.disks[key], shallow=False), f"disk {key} is another"
        assert self.output("finalize")["name"] == self.job.stem


@contextmanager
def comeback(
    site: Site, hub: Sshd, zygote: Zygote, point: Reference, directory: Path, **variables: JsonValue
) -> Iterator[Comeback]:
    """Of `point` as a new VM that is called as `directory`. In the end no VM of somebody else is gone."""
    values = {
        "repository": "main",
        "point": str(point.point),
        "vcenter": "lab",
        "name": directory.name,
        "connections": 1,
        **variables,
    }
    job = site.directory / "jobs" / f"{directory.name}.yaml"
    document = {
        "version": 1,
        "name": directory.name,
        "include": "../site.yaml",
        "template": "restore-vm",
        "vars": values,
    }
    job.write_text(yaml.safe_dump(document))
    scene = Comeback(site, hub, zygote, job, directory / "runs")
    yield scene
    zygote.end()
    scene.assert_no_other_vm_is_gone()


@pytest.fixture(scope="module")
def point(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """An incremental."""
    directory = tmp_path_factory.mktemp("references")
    ran = Site(lab, directory / "state").run("vm")
    assert ran.exit_code == 0, ran.error
    made = incremental(reference(ran.points()[0], directory), directory, seed=1)
    shutil.copytree(ran.points()[0] / "vm", made.point / "vm", dirs_exist_ok=True)
    return made


def datastore(site: Site) -> Path:
    return site.source("vm", KEYS[0]).parents[1]


def directories(site: Site) -> list[str]:
    return sorted(path.name for path in datastore(site).iterdir())


def disk_file(site: Site, named: str) -> Path:
    """The bytes of ``[datastore1] dir/x.vmdk``."""
    path = datastore(site) / named.partition("] ")[2]
    return path.with_name(f"{path.stem}-flat.vmdk")
