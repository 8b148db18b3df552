"""A backup that copies its points into another repository once it is done, when that is due, and never to its own harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.events.events import Warned
from runner.hosts.local import LocalHost
from steps.repository import layout, marker
from tests.estate import VM, Estate, disk, estate, inventory, machine, restored

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "4 MiB")))}) as found:
        marker.init(LocalHost(), str(tmp_path / "offsite"))
        path = tmp_path / "site.yaml"
        document = yaml.safe_load(path.read_text())
        document["repositories"]["offsite"] = {"host": "local", "path": str(tmp_path / "offsite")}
        path.write_text(yaml.safe_dump(document))
        yield found


def copies(site: Estate) -> list[str]:
    return sorted(path.parent.name for path in site.repository("offsite").glob(f"*/*/{layout.MANIFEST}"))


def test_each_point_is_copied_after_its_backup_and_a_copy_that_fails_is_made_up_for(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite"}])
    first = site.backup(job)
    assert copies(site) == [first.name]
    away = site.repository("offsite").with_name("away")
    site.repository("offsite").rename(away)
    site.vcenter.write(VM, 2000, 4096, b"x" * 4096)
    ran = site.run(job)
    assert ran.exit_code == 0
    assert any("was copied to offsite" in event.text for event in ran.events if isinstance(event, Warned))
    away.rename(site.repository("offsite"))
    third = site.backup(job)
    assert copies(site) == sorted({first.name, third.name, *(path.name for path in ran.points())})
    copy = site.repository("offsite") / third.parent.name / third.name
    shutil.rmtree(site.repository())
    assert restored(copy, 2000, site.directory / "raw") == site.references[str(third), 2000].read_bytes()


def test_a_copy_is_not_made_again_before_it_is_due(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite", "when": "monthly"}])
    first = site.backup(job)
    site.backup(job)
    assert copies(site) == [first.name]
