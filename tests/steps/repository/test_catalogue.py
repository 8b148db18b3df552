from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.points import retention_plan
from steps.repository import catalogue, marker
from steps.repository.naming import Names
from steps.repository.retention import Policy
from steps.values.published import Published
from tests import points
from tests.chain import BRAKE, many
from tests.hub import CREATED, INSTANCE, OTHER_RUN, RUN, Hub, disk, tree, vm

pytestmark = pytest.mark.slow


def listed(hub: Hub) -> catalogue.Catalogue:
    return catalogue.read(hub.host, hub.root)


def later(hub: Hub, run: str, days: int, **changes: object) -> Published:
    return points.publish(hub, run=run, created=CREATED + timedelta(days=days), **changes)


def test_an_empty_repository_has_no_points(hub: Hub) -> None:
    uuid = marker.require(hub.host, hub.root).uuid
    assert listed(hub) == catalogue.Catalogue(
        repository=hub.root, uuid=uuid, host="hub", points=(), skipped=(), unread=(), unfinished=()
    )


def test_points_are_listed_by_vm_and_in_the_order_of_publication(any_hub: Hub) -> None:
    hub = any_hub
    other = vm("alpha", instance_uuid=INSTANCE.replace("5013", "0000"))
    first = points.publish(hub, disk(2000), disk(2001))
    second = later(hub, OTHER_RUN, -1)
    alpha = points.publish(hub, machine=other)
    found = listed(hub)
    assert [(point.vm, point.path) for point in found.points] == [
        ("alpha", alpha.path),
        ("pgtest1", first.path),
        ("pgtest1", second.path),
    ]
    assert len(found.points[1].disks) == 2
    assert found.points[1].capacity == 2 * disk().capacity
    assert (found.skipped, found.unfinished) == ((), ())


def test_the_last_good_point_is_the_newest_that_was_compared_whole(hub: Hub) -> None:
    points.publish(hub)
    later(hub, OTHER_RUN, 1)
    later(hub, RUN[:-4] + "9999", 2, level="sample")
    assert [(point.level, point.good, point.last_good) for point in listed(hub).points] == [
        ("full", True, False),
        ("full", True, True),
        ("sample", False, False),
    ]


def test_an_unfinished_point_is_never_listed(hub: Hub) -> None:
    image = hub.image()
    (Path(image.directory) / "manifest.json").write_bytes(b"{}")
    found = listed(hub)
    assert found.points == ()
    assert found.unfinished == (image.directory,)


def test_damage_is_named_and_the_rest_is_listed(hub: Hub) -> None:
    good = points.publish(hub)
    bad = later(hub, OTHER_RUN, 1)
    (Path(bad.path) / "manifest.json").write_bytes(b'{"schema_version": 1')
    found = listed(hub)
    assert [point.path for point in found.points] == [good.path]
    assert [(one.path, one.why) for one in found.unread] == [(bad.path, "manifest.json is damaged: it is not JSON")]


def foreign_directory(hub: Hub, point: Path) -> Path:
    (Path(hub.root) / "holiday").mkdir()
    return Path(hub.root) / "holiday"


def without_manifest(hub: Hub, point: Path) -> Path:
    (point / "manifest.json").unlink()
    return point


def manifest_is_a_link(hub: Hub, point: Path) -> Path:
    (point / "manifest.json").rename(point / "elsewhere")
    (point / "manifest.json").symlink_to("elsewhere")
    return point


def manifest_is_huge(hub: Hub, point: Path) -> Path:
    with (point / "manifest.json").open("r+b") as file:
        file.truncate(2 << 20)
    return point


def renamed(hub: Hub, point: Path) -> Path:
    return point.rename(point.with_name("20261123T170003Z-0000"))


def misnamed(hub: Hub, point: Path) -> Path:
    return point.rename(point.with_name("old backup"))


def of_another_vm(hub: Hub, point: Path) -> Path:
    other = point.parent.with_name(point.parent.name.replace("5013", "5014"))
    point.parent.rename(other)
    return other / point.name


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (foreign_directory, "not the directory of a VM"),
        (without_manifest, "has no manifest.json"),
        (manifest_is_a_link, "not a regular file"),
        (manifest_is_huge, "has 2097152 bytes"),
        (renamed, "copied or renamed"),
        (misnamed, "its name is not that of a restore point"),
        (of_another_vm, "copied or renamed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_point_is_named_and_skipped(hub: Hub, spoil: object, why: str) -> None:
    point = Path(points.publish(hub).path)
    assert callable(spoil)
    path = spoil(hub, point)
    found = listed(hub)
    named = [*found.skipped, *found.unread]
    assert (path, True) in [(Path(one.path.removesuffix("/manifest.json")), why in one.why) for one in named]
    assert path not in [Path(point.path) for point in found.points]


@pytest.mark.parametrize(
    "name",
    ["a\nb", "-rf", "--checkpoint-action=exec=sh x", "\x1b[2J", "*", "ünï", os.fsdecode(b"\xff"), "a" * 200],
    ids=ascii,
)
def test_hostile_names_break_nothing(hub: Hub, name: str) -> None:
    point = points.publish(hub)
    (Path(hub.root) / name).mkdir()
    (Path(point.path).parent / name).mkdir()
    (Path(point.path).parent / name / "manifest.json").write_bytes(b"")
    found = listed(hub)
    assert [listed.path for listed in found.points] == [point.path]
    assert len(found.skipped) == 2
    assert found.model_dump_json()


def test_files_of_the_host_and_the_state_are_not_points(hub: Hub) -> None:
    for name in (".state/job/run", "lost+found/x"):
        (Path(hub.root) / name).mkdir(parents=True)
    (Path(hub.root) / ".state" / "job" / "manifest.json").touch()
    (Path(hub.root) / "README").touch()
    assert listed(hub).skipped == ()


def test_listing_changes_nothing(hub: Hub) -> None:
    points.publish(hub)
    before = tree(Path(hub.root))
    listed(hub)
    assert tree(Path(hub.root)) == before


def test_a_path_without_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(marker.NotARepositoryError, match="mount its disk"):
        catalogue.read(LocalHost("hub"), str(tmp_path))


def test_a_thousand_manifests_are_listed_and_planned_for_in_a_moment(tmp_path: Path) -> None:
    many(tmp_path / "repository", vms=10, points=100)
    host, root = LocalHost("hub"), str(tmp_path / "repository")
    began = time.process_time()
    assert len(catalogue.read(host, root).points) == 1000
    names = Names.read(host, root)
    plans = retention_plan.of_vms(host, names, names.vms, Policy(keep_daily=7), CREATED, shares=True, brake=BRAKE)
    assert sum(len(plan.plan.drops) for plan in plans) == 930
    # Three times what ten thousand may take, for a tenth of them, and of work alone: others use the machine too.
    assert time.process_time() - began < 2 * 0.9
