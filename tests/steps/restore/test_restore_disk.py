"""Restoring by the steps themselves: what is damaged, and what is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from runner.step.preflight import Known
from steps.repository import layout
from steps.restore.check_restored import CheckRestored, CheckRestoredIn, CheckRestoredLive, RestoredDiffersError
from steps.restore.create_target import CreateTarget, CreateTargetIn
from steps.restore.finalize_restore import FinalizeRestore, FinalizeRestoreIn
from steps.restore.open_point import OpenPoint, OpenPointIn
from steps.restore.point_copy import PointDamagedError
from steps.restore.restore_disk import RestoreDisk, RestoreDiskIn, RestoreDiskLive
from steps.restore.serve_image import ServeImage, ServeImageIn
from steps.restore.target_files import TargetExistsError
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage, StoredDisk
from steps.values.target import Target
from tests.chains import Reference, full, incremental
from tests.hub import Hub, disk

IMAGE = layout.image(2000)


@pytest.fixture
def chain(hub: Hub, tmp_path: Path) -> list[Reference]:
    first = full(hub, tmp_path / "references", disk(2000, 4 * MiB))
    return [first, incremental(first, tmp_path / "references", seed=1)]


def opened(hub: Hub, point: Path) -> StoredDisk:
    found = OpenPoint().run(hub.context(), OpenPointIn(repository="main", point=point.name), OpenPoint.Live())
    return found.disks[0]


def serve(hub: Hub, image: DiskImage, mode: str = "read-only") -> Serving:
    """Until the hub's stack ends it."""
    ctx = hub.context()
    hub.stack.enter_context(ctx.closing)
    inputs = ServeImageIn.model_validate({"image": image, "mode": mode, "connections": 1})
    return ServeImage().run(ctx, inputs, ServeImage.Live())


def target_of(hub: Hub, of: StoredDisk, place: Path, *, overwrite: bool = False) -> Target:
    inputs = CreateTargetIn(disk=of, directory=str(place), format="raw", overwrite=overwrite)
    return CreateTarget().run(hub.context(), inputs, CreateTarget.Live())


def restore(hub: Hub, target: Target) -> Restored:
    into = serve(hub, target.image, "write")
    live = RestoreDiskLive(source=serve(hub, target.disk.image), into=into)
    return RestoreDisk().run(hub.context(), RestoreDiskIn(target=target), live)


def spoil(path: Path, old: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, b"x" * len(old), 1))


def test_a_damaged_point_is_named_with_the_offset(hub: Hub, chain: list[Reference], tmp_path: Path):
    of = opened(hub, chain[0].point)
    spoil(chain[0].point / IMAGE, bytes([99]) * 4096)
    target = target_of(hub, of, tmp_path / "restored")
    with pytest.raises(PointDamagedError, match=rf"does not match its digest at offset {2 * MiB}") as refused:
        restore(hub, target)
    assert refused.value.exit_code == 5
    assert not Path(target.final).exists()


def test_a_file_that_changed_behind_us_is_restored_again(hub: Hub, chain: list[Reference], tmp_path: Path):
    target = target_of(hub, opened(hub, chain[1].point), tmp_path / "restored")
    done = restore(hub, target)
    spoil(Path(target.image.path), bytes([99]) * 4096)
    live = CheckRestoredLive(view=serve(hub, target.image))
    with pytest.raises(RestoredDiffersError, match=rf"does not match its digest at offset {2 * MiB}") as refused:
        CheckRestored().run(hub.context(), CheckRestoredIn(restored=done), live)
    assert refused.value.invalidates == ("restored",)


def test_what_is_there_is_replaced_only_if_told_and_only_at_the_end(hub: Hub, chain: list[Reference], tmp_path: Path):
    of, place = opened(hub, chain[0].point), tmp_path / "restored"
    place.mkdir()
    final = place / "pgtest1-disk-2000.raw"
    final.write_bytes(b"mine")
    with pytest.raises(TargetExistsError, match="--overwrite replaces it"):
        target_of(hub, of, place)
    target = target_of(hub, of, place, overwrite=True)
    done = restore(hub, target)
    live = CheckRestoredLive(view=serve(hub, target.image))
    checked = CheckRestored().run(hub.context(), CheckRestoredIn(restored=done), live)
    assert final.read_bytes() == b"mine"
    delivered = FinalizeRestore().run(hub.context(), FinalizeRestoreIn(disks=(checked,)), FinalizeRestore.Live())
    assert delivered.files == (str(final),)
    assert final.read_bytes() == chain[0].disks[2000].read_bytes()
    assert [path.name for path in place.iterdir()] == [final.name]
    assert CheckRestored().check(hub.context(), CheckRestoredIn(restored=done), checked) == checked


def test_a_crash_while_it_gets_its_name_leaves_what_was_there_or_what_is_to_be(
    hub: Hub, chain: list[Reference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of, place = opened(hub, chain[0].point), tmp_path / "restored"
    place.mkdir()
    final = place / "pgtest1-disk-2000.raw"
    final.write_bytes(b"mine")
    target = target_of(hub, of, place, overwrite=True)
    done = restore(hub, target)
    live = CheckRestoredLive(view=serve(hub, target.image))
    checked = CheckRestored().run(hub.context(), CheckRestoredIn(restored=done), live)

    def dies(*args: object, **more: object) -> None:
        raise OSError("the host is gone")

    with monkeypatch.context() as before, pytest.raises(OSError, match="gone"):
        before.setattr(LocalHost, "rename", dies)
        FinalizeRestore().run(hub.context(), FinalizeRestoreIn(disks=(checked,)), FinalizeRestore.Live())
    assert final.read_bytes() == b"mine"
    FinalizeRestore().run(hub.context(), FinalizeRestoreIn(disks=(checked,)), FinalizeRestore.Live())
    assert final.read_bytes() == chain[0].disks[2000].read_bytes()


def test_an_unfinished_file_that_was_deleted_is_made_again_though_one_of_its_final_name_is_there(
    hub: Hub, chain: list[Reference], tmp_path: Path
):
    of, place = opened(hub, chain[0].point), tmp_path / "restored"
    place.mkdir()
    final = place / "pgtest1-disk-2000.raw"
    final.write_bytes(b"mine")
    target = target_of(hub, of, place, overwrite=True)
    done = restore(hub, target)
    Path(target.image.path).unlink()
    inputs = CreateTargetIn(disk=of, directory=str(place), format="raw", overwrite=True)
    assert CreateTarget().check(hub.context(), inputs, target) is None
    assert RestoreDisk().check(hub.context(), RestoreDiskIn(target=target), done) is None
    assert CreateTarget().run(hub.context(), inputs, CreateTarget.Live()) == target
    assert final.read_bytes() == b"mine"


def test_too_little_room_is_seen_before_anything_is_written(
    hub: Hub, chain: list[Reference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of = opened(hub, chain[0].point)
    monkeypatch.setattr("runner.hosts.local.LocalHost.free_bytes", lambda self, path: MiB)
    inputs = CreateTargetIn(disk=of, directory=str(tmp_path / "restored"), format="raw")
    (seen,) = CreateTarget().preflight(hub.context(), Known(inputs=inputs)).observations
    assert seen.state == "wrong"
    assert seen.found.startswith("3.0 MiB to restore, 1.0 MiB free in ")
