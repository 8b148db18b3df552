"""Incrementals, retention in the backup, the shipped prune job, and a point verified at rest: on the lab."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from runner.app.inspection import plan_job
from runner.app.options import Options
from runner.base.render import shipped
from runner.base.units import KiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.lab.lab import seeded
from steps.qemu import img
from steps.repository import layout
from tests.chains import qemu
from tests.e2e.site import Site, disk, inventory, same

INVENTORY = inventory({"name": "app", "disks": [disk(2000, "6 MiB", 0, 1), disk(2001, "4 MiB", 1, 2)]})
KEYS = (2000, 2001)


def job(site: Site, name: str, template: str, **values: object) -> Path:
    path = site.directory / "jobs" / f"{name}.yaml"
    document = {"version": 1, "name": name, "include": "../site.yaml", "template": template, "vars": values}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def what_failed_after_the_point_is_published_is_made_up_for(site: Site, nightly: Path) -> None:
    """By the next run, which takes no other snapshot: all that is left of this one is what failed."""
    in_the_way = site.points()[0] / layout.MOVING
    in_the_way.write_text("{")
    failed = site.run(nightly)
    assert failed.exit_code == 1
    assert f"{layout.MOVING} on store" in str(failed.error)
    assert len(site.points()) == 3
    assert site.snapshots() == [], "nothing needs it any more"
    in_the_way.unlink()


def restores_to(site: Site, nightly: Path, point: Path, form: str, reference: Path) -> bool:
    """Whether `sendense restore` gives the disks as they were, in files that stand alone."""
    to = reference.parent / f"{point.name}-{form}-{len(site.points())}"
    arguments = ("--to", str(to), "--format", form, "--state", str(site.state))
    with pytest.raises(SystemExit) as left:
        main(["restore", str(nightly), point.name, *arguments])
    assert left.value.code == 0
    files = {key: to / f"app-disk-{key}.{form}" for key in KEYS}
    assert sorted(to.iterdir()) == sorted(files.values())
    equal = "Images are identical.\n"
    return all(
        qemu("qemu-img", "compare", "-f", form, "-F", "raw", file, reference / str(key)) == equal
        for key, file in files.items()
    )


def backing(point: Path) -> set[str | None]:
    return {img.info(LocalHost(), str(point / layout.image(key))).backing_file for key in KEYS}


def test_a_vms_points_through_backups_that_prune_and_the_shipped_job(site: Site, tmp_path: Path) -> None:
    nightly = job(
        site,
        "nightly",
        "backup",
        vm="app",
        vcenter="lab",
        repository="main",
        cbt="enable",
        retention={"keep-last": 2},
    )
    references: dict[str, Path] = {}
    for night in range(3):
        if night:
            for key in KEYS:
                site.lab.write("app", key, night * 192 * KiB, seeded(night, 96 * KiB))
        if night == 2:
            told = plan_job(nightly, Options(state=site.state), offline=False)
            assert [name for node in told.nodes for name in node.removes] == [f"app/{min(references)}"]
            what_failed_after_the_point_is_published_is_made_up_for(site, nightly)
        ran = site.run(nightly)
        assert ran.exit_code == 0, ran.error
        (point,) = ran.points()
        references[point.name] = tmp_path / point.name
        references[point.name].mkdir()
        for key in KEYS:
            shutil.copy(site.source("app", key), references[point.name] / str(key))
    oldest, *newest = references
    assert [point.name for point in site.points()] == newest
    assert [gone["point"] for gone in ran.output("prune")["dropped"]] == [oldest]
    assert site.snapshots() == []
    middle, last = site.points()
    assert backing(middle) == {None}, "its full was committed into it"
    assert None not in backing(last)
    for point in (middle, last):
        assert all(same(references[point.name] / str(key), point / f"disk-{key}.qcow2") for key in KEYS)
    assert restores_to(site, nightly, middle, "qcow2", references[middle.name])
    assert restores_to(site, nightly, last, "vmdk", references[last.name])

    checked = site.run(job(site, "verify", "verify", repository="main", points=newest))
    assert checked.exit_code == 0, checked.error

    text = shipped("jobs/prune.yaml").read_text().replace("include: site.yaml", "include: ../site.yaml")
    path = site.directory / "jobs" / "prune.yaml"
    path.write_text(text)
    assert site.run(path).exit_code == 0
    assert [point.name for point in site.points()] == newest, "three are to stay"
    path.write_text(text.replace("keep-last: 3, keep-daily: 7, keep-weekly: 5, keep-monthly: 12", "keep-last: 1"))
    pruned = site.run(path)
    assert pruned.exit_code == 0, pruned.error
    (last,) = site.points()
    assert last.name == newest[-1]
    assert all(same(references[last.name] / str(key), last / f"disk-{key}.qcow2") for key in KEYS)
