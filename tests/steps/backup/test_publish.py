from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import HostError, SendenseError
from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.backup.publish import IsProtectedError, PointExistsError, Publish
from steps.backup.unpublished import MixedUpError, Unpublished
from steps.points.dependants import HasChildrenError
from steps.qemu import img
from steps.repository import manifest, marker, verification_records, vm_place
from steps.repository.verification_records import Protection
from steps.values.published import Published
from steps.vsphere import snapshots
from steps.vsphere.configuration import as_json
from steps.vsphere.inventory import Uncovered
from steps.vsphere.names import DatastoreFile
from tests import points
from tests.hub import INSTANCE, OTHER_RUN, RUN, Hub, disk, tree, vm
from tests.records import rewrite
from tests.trails import acts
from tests.vcenter import Starts, vcenters

pytestmark = pytest.mark.slow

start_vcenter = vcenters

STEP = Publish()
POINT = "20261123T170003Z-3f9a"


@pytest.fixture
def given_anywhere(any_hub: Hub) -> Unpublished:
    any_hub.share(("vcenter", "prod"), lambda: nullcontext(points.StandInVcenter()))
    return points.inputs(any_hub, disk(2000), disk(2016, 2 * MiB + 512))


@pytest.fixture
def given(hub: Hub) -> Unpublished:
    hub.share(("vcenter", "prod"), lambda: nullcontext(points.StandInVcenter()))
    return points.inputs(hub, disk(2000), disk(2016, 2 * MiB + 512))


def publish(hub: Hub, given: Unpublished) -> Any:
    return STEP.run(hub.context(), given, STEP.Live())


def unlogged(made: Published) -> Published:
    """As the point itself tells it: which entry of the log says so, the run's record alone knows."""
    assert made.witness is not None
    return made.model_copy(update={"witness": made.witness.model_copy(update={"log": None})})


def read(path: str) -> manifest.Manifest:
    return manifest.parse((Path(path) / "manifest.json").read_bytes(), path)


def test_a_restore_point_has_its_files_and_nothing_else(any_hub: Hub, given_anywhere: Unpublished) -> None:
    hub, given = any_hub, given_anywhere
    made = publish(hub, given)
    assert STEP.check(hub.context(), given, None) == unlogged(made)
    assert made.path == f"{hub.root}/pgtest1-{INSTANCE}/{POINT}"
    assert list(tree(Path(made.path))) == [
        "disk-2000.blake3",
        "disk-2000.qcow2",
        "disk-2016.blake3",
        "disk-2016.qcow2",
        "manifest.json",
        "vm",
        "vm/config.json",
        "vm/inventory.json",
        "vm/pgtest1.nvram",
    ]
    assert [img.info(hub.host, path).virtual_size for path in made.disks] == [4 * MiB, 2 * MiB + 512]
    assert not Path(given.disks[0].copied.image.directory).exists()
    for path in Path(made.path).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_manifest_says_what_the_point_is(hub: Hub, given: Unpublished) -> None:
    written = read(publish(hub, given).path)
    assert (written.point, written.run, written.kind, written.level) == (POINT, RUN, "full", "full")
    assert (written.vm.name, written.vm.instance_uuid, written.vm.vcenter_uuid) == (
        "pgtest1",
        INSTANCE,
        given.vm.vcenter_uuid,
    )
    assert [(of.key, of.capacity, of.image, of.parent) for of in written.disks] == [
        (2000, 4 * MiB, "disk-2000.qcow2", None),
        (2016, 2 * MiB + 512, "disk-2016.qcow2", None),
    ]
    assert written.disks[0].change_id == given.snapshot.disks[0].change_id
    assert written.disks[0].digest == given.disks[0].copied.digest
    assert (written.job, written.job_digest, written.git_commit) == ("pgtest1-nightly", "0" * 64, "c0ffee")
    assert written.tools["qemu-img on hub"] == img.version(hub.host)
    assert written.tools["vCenter"] == "a vCenter (API 8.0.3.0)"
    assert (written.nvram, written.notes) == ("pgtest1.nvram", ())


def test_the_vms_configuration_and_nvram_are_saved(hub: Hub, given: Unpublished) -> None:
    path = Path(publish(hub, given).path)
    assert json.loads((path / "vm" / "config.json").read_bytes()) == as_json(points.StandInVcenter.config)
    assert (path / "vm" / "pgtest1.nvram").read_bytes() == b"DC0 [ds1] pgtest1/pgtest1.nvram"


def test_a_lost_nvram_is_noted_and_does_not_lose_the_point(hub: Hub) -> None:
    class Refusing(points.StandInVcenter):
        def download(self, datacenter: str, file: DatastoreFile) -> bytes:
            raise SendenseError("there is no such file")

    hub.shared["vcenter", "prod"] = Refusing()
    written = read(points.publish(hub).path)
    assert written.nvram is None
    assert written.notes == ("The NVRAM file [ds1] pgtest1/pgtest1.nvram could not be saved: there is no such file",)
    assert hub.warnings == list(written.notes)


def test_a_vm_without_nvram_has_none(hub: Hub) -> None:
    written = read(points.publish(hub, nvram=None).path)
    assert (written.nvram, written.notes) == (None, ())


def test_a_disk_that_was_left_out_is_noted(hub: Hub, given: Unpublished) -> None:
    left = Uncovered(key=2002, label="Hard disk 3", capacity=MiB, why="independent")
    made = publish(hub, given.model_copy(update={"uncovered": (left,)}))
    assert read(made.path).notes == ("Disk 2002 (Hard disk 3, independent) is not in this point.",)


@pytest.mark.parametrize("lost", [False, True], ids=["there", "gone"])
def test_a_vcenter_gives_the_nvram_and_its_version(hub: Hub, start_vcenter: Starts, lost: bool) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    hub.shared["vcenter", "prod"] = lab.client
    image = hub.image(found.disks[0], machine=found.vm)
    verified = points.verified(image)
    copied = verified.copied.model_copy(update={"snapshot": taken.moref})
    if lost:
        lab.simulator.fault("http-404")
    given = Unpublished(vm=found.vm, snapshot=taken, disks=(verified.model_copy(update={"copied": copied}),))
    made = publish(hub, given)
    written = read(made.path)
    assert written.tools["vCenter"] == lab.client.version
    saved = json.loads((Path(made.path) / "vm" / "config.json").read_bytes())
    assert saved == snapshots.configuration(lab.client, taken.moref)
    if lost:
        assert written.nvram is None
        assert "could not be saved: " in written.notes[0]
    else:
        content = next(lab.scratch.rglob("pgtest1.nvram")).read_bytes()
        assert (Path(made.path) / "vm" / "pgtest1.nvram").read_bytes() == content
        assert written.notes == ()


def test_a_point_is_verified_as_far_as_its_weakest_disk(hub: Hub, given: Unpublished) -> None:
    weaker = given.disks[1].model_copy(update={"level": "sample", "compared": 1})
    made = publish(hub, given.model_copy(update={"disks": (given.disks[0], weaker)}))
    assert made.level == "sample"
    assert read(made.path).level == "sample"


def swap(given: Unpublished) -> dict[str, Any]:
    one, two = given.disks
    swapped = [
        verified.model_copy(
            update={
                "copied": verified.copied.model_copy(
                    update={"image": verified.copied.image.model_copy(update={"path": other.copied.image.path})}
                )
            }
        )
        for verified, other in ((one, two), (two, one))
    ]
    return {"disks": tuple(swapped)}


def resized(given: Unpublished) -> dict[str, Any]:
    first, second = given.snapshot.disks
    grown = second.model_copy(update={"capacity": second.capacity + 512})
    return {"snapshot": given.snapshot.model_copy(update={"disks": (first, grown)})}


def other_moment(given: Unpublished) -> dict[str, Any]:
    return {"snapshot": given.snapshot.model_copy(update={"moref": "snapshot-32"})}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda given: {"disks": given.disks[:1]}, "disk 2016 was not copied", id="a disk is missing"),
        pytest.param(
            lambda given: {"disks": (given.disks[0], given.disks[0])}, "disk 2000 was given 2 times", id="a disk twice"
        ),
        pytest.param(
            lambda given: {"snapshot": given.snapshot.model_copy(update={"disks": given.snapshot.disks[:1]})},
            "disk 2016 is not one that the snapshot covers",
            id="a disk too many",
        ),
        pytest.param(swap, r"disk 2000 is in \S+disk-2016\.qcow2, not in its place", id="images swapped"),
        pytest.param(
            resized,
            "disk-2016.qcow2 is not of the snapshot's disk 2016: backing or capacity differ",
            id="another capacity",
        ),
        pytest.param(other_moment, "read from snapshot snapshot-31, not from snapshot-32", id="another moment"),
        pytest.param(
            lambda given: {"vm": vm(moref="vm-17")}, "the snapshot is of vm-16, not of vm-17", id="another VM"
        ),
        pytest.param(lambda given: {"disks": ()}, "disk 2000 was not copied", id="no disks"),
    ],
)
def test_disks_that_do_not_match_the_snapshot_are_not_published(
    hub: Hub, given: Unpublished, change: Callable[[Unpublished], dict[str, Any]], said: str
) -> None:
    before = tree(Path(hub.root))
    with pytest.raises(MixedUpError, match=said):
        publish(hub, given.model_copy(update=change(given)))
    assert tree(Path(hub.root)) == before


def test_an_image_that_names_another_parent_than_its_copy_had_is_not_published(hub: Hub, given: Unpublished) -> None:
    image = given.disks[0].copied.image.path
    hub.host.run(("qemu-img", "create", "-q", "-f", "qcow2", f"{hub.root}/other", "4M"))
    hub.host.run(("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", f"{hub.root}/other", image))
    with pytest.raises(MixedUpError, match=rf"disk 2000 in {image} is backed by {hub.root}/other instead of nothing"):
        publish(hub, given)
    assert list(Path(hub.root).rglob("manifest.json")) == []


def test_images_that_are_not_on_storage_get_no_manifest(
    hub: Hub, given: Unpublished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are synced while the VM is saved."""

    def failing(self: LocalHost, *paths: str) -> None:
        assert sorted(Path(path).suffix for path in paths) == [".blake3", ".blake3", ".qcow2", ".qcow2"]
        raise HostError("the storage failed")

    monkeypatch.setattr(LocalHost, "sync", failing)
    with pytest.raises(HostError, match="the storage failed"):
        publish(hub, given)
    assert list(Path(hub.root).rglob("manifest.json")) == []


def test_a_published_point_is_found_without_a_record(hub: Hub, given: Unpublished) -> None:
    assert STEP.check(hub.context(), given, None) is None
    made = publish(hub, given)
    before = tree(Path(hub.root))
    assert STEP.check(hub.context(), given, None) == unlogged(made)
    assert STEP.check(hub.context(), given, made) == made
    assert tree(Path(hub.root)) == before


class Killed(BaseException):
    """Passes all that catches errors, as a SIGKILL does."""


@pytest.mark.parametrize("verb", ["mkdir", "write", "sync", "rename", "remove"])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_crash_in_the_middle_is_carried_on(
    hub: Hub, given: Unpublished, monkeypatch: pytest.MonkeyPatch, verb: str, late: bool
) -> None:
    """At every call of every verb that changes something, one after the other."""
    original = getattr(LocalHost, verb)
    for nth in range(1, 20):
        saved = Path(hub.root).with_name("saved")
        shutil.copytree(hub.root, saved)
        calls = 0

        def dying(self: LocalHost, *arguments: Any, _nth: int = nth, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == _nth and not late:
                raise Killed
            answer = original(self, *arguments, **named)
            if calls == _nth:
                raise Killed
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(LocalHost, verb, dying)
            try:
                publish(hub, given)
            except Killed:
                died = True
            else:
                died = False
        point = vm_place.point_of_run(hub.host, str(Path(given.disks[0].copied.image.directory).parent), RUN)
        assert point or len(list(Path(hub.root).glob("*/*.partial/*.copied.json"))) == 2, "the copies are forgotten"
        made = STEP.check(hub.context(), given, None) or publish(hub, given)
        assert STEP.check(hub.context(), given, None) == unlogged(made)
        assert len(tree(Path(made.path))) == 9
        assert ("publish", POINT) in acts(hub.root)
        shutil.rmtree(hub.root)
        saved.rename(hub.root)
        if not died:
            return
    raise AssertionError(f"{verb} is called without end")


def test_a_point_of_another_run_is_never_overwritten(hub: Hub, given: Unpublished) -> None:
    made = publish(hub, given)
    twin = RUN[:-4] + "ffff"
    before = tree(Path(made.path))
    again = points.inputs(hub, run=twin)
    with pytest.raises(PointExistsError, match="never overwritten"):
        STEP.run(hub.context(run=twin), again, STEP.Live())
    assert tree(Path(made.path)) == before


def test_what_an_earlier_attempt_left_does_not_enter_the_point(hub: Hub, given: Unpublished) -> None:
    partial = Path(given.disks[0].copied.image.directory)
    (partial / ".torn.tmp").touch()
    (partial / "disk-2001.qcow2").touch()
    assert len(tree(Path(publish(hub, given).path))) == 9


def test_an_unmounted_repository_is_refused(hub: Hub, given: Unpublished) -> None:
    (Path(hub.root) / "repository.json").unlink()
    with pytest.raises(marker.NotARepositoryError, match="mount its disk"):
        publish(hub, given)


def test_undo_takes_the_point_from_the_list(hub: Hub, given: Unpublished) -> None:
    before = tree(Path(hub.root))
    made = publish(hub, given)
    STEP.undo(hub.context(), given, made)
    STEP.undo(hub.context(), given, made)
    assert {path for path in before if not path.endswith(".json")} == {
        path for path in tree(Path(hub.root)) if not path.endswith((".json", ".jsonl"))
    }
    assert acts(hub.root) == [("publish", POINT), ("unpublish", POINT)]
    assert not list(Path(hub.root).rglob("manifest.json"))


def test_a_point_with_children_stays(hub: Hub, given: Unpublished) -> None:
    made = publish(hub, given)
    child = points.publish(hub, run=OTHER_RUN)
    path = Path(child.path) / "manifest.json"
    rewrite(path, lambda found: [disk.update(parent=made.point) for disk in found["disks"]])
    with pytest.raises(HasChildrenError, match=child.point):
        STEP.undo(hub.context(), given, made)
    assert Path(made.path).exists()


def test_a_protected_point_stays(hub: Hub, given: Unpublished) -> None:
    made = publish(hub, given)
    now = datetime.now(UTC)
    verification_records.write(hub.host, made.path, Protection(until=now + timedelta(days=1), reason="audit", at=now))
    with pytest.raises(IsProtectedError, match=r"\(audit\)"):
        STEP.undo(hub.context(), given, made)
    assert (Path(made.path) / "manifest.json").exists()


def test_what_it_says_restores_the_disk(hub: Hub, given: Unpublished, tmp_path: Path) -> None:
    made = publish(hub, given)
    report = STEP.report(made)
    point, witnessed = report.statements
    assert point.text.startswith(f"Restore point {POINT} of pgtest1: /")
    assert made.witness is not None and witnessed.text.endswith(f"/{POINT}: {made.witness.digest}.")
    assert report.result is not None
    assert "every block verified" in report.result.parts
    assert set(report.result.lists) == set(STEP.makes), "else `run --json` does not have it"
    (name,) = report.result.lists["points"]
    assert report.result.made == f"point {name}"
    assert str(name).endswith(f"/{POINT}")
    assert report.result.bytes == sum(disk["copied"] for disk in report.result.lists["disks"])  # type: ignore[index,call-overload,misc]
    ours, *bare = report.commands
    assert ours.line.startswith("sendense restore JOB ")
    assert len(bare) == 2
    assert len({command.purpose for command in bare}) == 1
    line = bare[1].line.replace("/restore/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=30)
    assert (tmp_path / "disk-2016.raw").stat().st_size == 2 * MiB + 512


def test_what_was_given_no_disk_is_not_published(hub: Hub, given: Unpublished) -> None:
    nothing = given.model_copy(update={"disks": ()})
    assert STEP.check(hub.context(), nothing, None) is None
    assert not STEP.committed(hub.context(), nothing)
