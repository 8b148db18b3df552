"""A backup that copies its points into another repository once it is done, when that is due, and never to its own harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from runner.events.events import Warned
from runner.hosts.local import LocalHost
from steps.qemu import img
from steps.repository import layout, marker
from steps.repository.manifest import dump, parse
from tests.estate import VM, Estate, disk, estate, inventory, machine, read, restored

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "5 MiB")))}) as found:
        marker.init(LocalHost(), str(tmp_path / "offsite"))
        path = tmp_path / "site.yaml"
        document = yaml.safe_load(path.read_text())
        document["repositories"]["offsite"] = {"host": "local", "path": str(tmp_path / "offsite")}
        path.write_text(yaml.safe_dump(document))
        yield found


def copies(site: Estate) -> list[str]:
    return sorted(path.parent.name for path in site.repository("offsite").glob(f"*/*/{layout.MANIFEST}"))


def test_each_point_is_copied_after_its_backup_and_a_copy_that_fails_is_made_up_for(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite", "compress": "zstd", "flatten": "weekly"}], cbt="enable")
    first = site.backup(job)
    assert copies(site) == [first.name]
    away = site.repository("offsite").with_name("away")
    site.repository("offsite").rename(away)
    for point in (first, away / first.parent.name / first.name):
        age(point, timedelta(days=7))
    site.vcenter.write(VM, 2000, 4096, b"x" * 4096)
    second = site.backup(job, (told := []).append)
    assert any("was copied to offsite" in event.text for event in told if isinstance(event, Warned))
    away.rename(site.repository("offsite"))
    site.vcenter.write(VM, 2000, 9 << 19, b"y" * 4096)
    third = site.backup(job)
    assert copies(site) == sorted({first.name, second.name, third.name})
    kept = [site.repository("offsite") / first.parent.name / point.name for point in (first, second, third)]
    assert [read(copy).disks[0].parent for copy in kept] == [None, None, second.name], "flat once a week"
    infos = [img.info(LocalHost(), str(copy / layout.image(2000))) for copy in kept]
    assert {one.cluster_size for one in infos} == {img.COMPRESSED_CLUSTER}
    originals = [site.references[str(point), 2000].read_bytes() for point in (first, second, third)]
    shutil.rmtree(site.repository())
    shutil.rmtree(kept[0])
    for copy, original in zip(kept[1:], originals[1:], strict=True):
        assert restored(copy, 2000, site.directory / "raw") == original, "by qemu-img alone"


def age(point: Path, by: timedelta) -> None:
    """As if it had been made so long before."""
    file = point / layout.MANIFEST
    made = parse(file.read_bytes(), str(file))
    assert made.stored is not None
    earlier = {"created": made.created - by, "published": made.published - by, "stored": made.stored - by}
    file.write_bytes(dump(made.model_copy(update=earlier)))


def test_a_copy_is_not_made_again_before_it_is_due(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite", "when": "monthly"}])
    first = site.backup(job)
    site.backup(job)
    assert copies(site) == [first.name]
