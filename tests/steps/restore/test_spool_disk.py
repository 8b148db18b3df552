"""A disk of a restore point becomes a stream that waits on this machine, or is made again."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from runner.base.units import GiB, MiB
from runner.step.preflight import Known
from steps.restore import spool
from steps.restore.point_copy import PointDamagedError
from steps.restore.spool_disk import SpoolDisk, SpoolDiskIn, SpoolDiskLive
from steps.values.planned_vm import PlannedDisk, PlannedVm
from steps.values.spooled import SpooledDisk
from steps.values.stored_point import StoredDisk
from tests.chains import Reference, full, incremental
from tests.hub import RUN, Hub, disk
from tests.planned import planned_vm
from tests.steps.restore.test_restore_disk import IMAGE, opened, serve, spoil

SIZE = 4 * MiB + 512


@pytest.fixture
def chain(hub: Hub, tmp_path: Path) -> list[Reference]:
    first = full(hub, tmp_path / "references", disk(2000, SIZE))
    return [first, incremental(first, tmp_path / "references", seed=1)]


def inputs_for(of: StoredDisk, directory: Path, plan: PlannedVm | None = None, limit: int | None = None) -> SpoolDiskIn:
    plan = plan or planned_vm(of)
    (planned,) = [one for one in plan.disks if one.key == of.key]
    return SpoolDiskIn(plan=plan, disk=planned, directory=str(directory), limit=limit)


def spooled(hub: Hub, inputs: SpoolDiskIn) -> SpooledDisk:
    live = SpoolDiskLive(source=serve(hub, inputs.disk.stored.image))
    return SpoolDisk().run(hub.context(), inputs, live)


@pytest.mark.parametrize("point", [pytest.param(0, id="full"), pytest.param(1, id="incremental")])
def test_the_stream_holds_the_disk_of_the_point(hub: Hub, chain: list[Reference], tmp_path: Path, point: int):
    out = spooled(hub, inputs_for(opened(hub, chain[point].point), tmp_path / "spool"))
    path, unpacked = Path(out.path), tmp_path / "unpacked"
    assert path == tmp_path / "spool" / RUN / "disk-2000.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, unpacked], check=True, timeout=60)
    assert filecmp.cmp(unpacked, chain[point].disks[2000], shallow=False)
    whole = path.read_bytes()
    assert (out.size, out.sha1, out.sha256) == (
        len(whole),
        hashlib.sha1(whole).hexdigest(),
        hashlib.sha256(whole).hexdigest(),
    )
    assert out.blocks == 5
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_damaged_point_is_named_with_the_offset_and_leaves_no_stream(
    hub: Hub, chain: list[Reference], tmp_path: Path
):
    inputs = inputs_for(opened(hub, chain[0].point), tmp_path / "spool")
    spoil(chain[0].point / IMAGE, bytes([99]) * 4096)
    with pytest.raises(PointDamagedError, match=rf"does not match its digest at offset {2 * MiB}") as refused:
        spooled(hub, inputs)
    assert refused.value.exit_code == 5
    assert not (tmp_path / "spool" / RUN).exists()


def test_without_room_only_size_and_digests_are_kept(hub: Hub, chain: list[Reference], tmp_path: Path):
    of = opened(hub, chain[1].point)
    with_room = spooled(hub, inputs_for(of, tmp_path / "spool"))
    without = spooled(hub, inputs_for(of, tmp_path / "other", limit=MiB))
    assert without == with_room.model_copy(update={"path": ""})
    assert not (tmp_path / "other" / RUN).exists()


def test_a_file_system_that_becomes_full_costs_the_file_and_not_the_restore(
    hub: Hub, chain: list[Reference], small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (small / "others").write_bytes(b"x" * (64 * MiB - 64 * 1024))
    monkeypatch.setattr(spool, "has_room", lambda *told: True)
    of = opened(hub, chain[1].point)
    out = spooled(hub, inputs_for(of, small / "spool"))
    assert out == spooled(hub, inputs_for(of, tmp_path / "spool")).model_copy(update={"path": ""})
    assert hub.warnings == [f"{small}/spool/{RUN} became full: disk 2000 is compressed again while it is uploaded"]
    assert not (small / "spool" / RUN).exists()


def test_a_file_system_that_says_only_in_the_end_that_it_is_full_is_full(
    hub: Hub, chain: list[Reference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As one over a network may, when the file is flushed."""

    sync = os.fsync

    def full(file: int) -> None:
        if stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    out = spooled(hub, inputs_for(opened(hub, chain[1].point), tmp_path / "spool"))
    assert not out.path
    assert len(hub.warnings) == 1
    assert not (tmp_path / "spool" / RUN).exists()


def test_room_is_given_in_the_order_of_the_disks_whichever_are_there_already(tmp_path: Path):
    disks = [
        PlannedDisk.model_construct(key=key, stored=StoredDisk.model_construct(key=key, data=GiB, capacity=GiB))
        for key in (1, 2, 3)
    ]
    limit = 2 * spool.most(disks[0])
    for there in (0, 500 * MiB):
        tmp_path.joinpath("disk-1.vmdk").open("wb").truncate(there)
        assert [spool.has_room(tmp_path, disks, key, limit) for key in (1, 2, 3)] == [True, True, False]


def test_a_plan_says_what_is_kept_and_what_is_compressed_twice(hub: Hub, chain: list[Reference], tmp_path: Path):
    of = opened(hub, chain[0].point)
    (kept,) = SpoolDisk().preflight(hub.context(), Known(inputs=inputs_for(of, tmp_path))).notes
    assert kept == f"compressed: at most 3.0 MiB in {tmp_path}"
    (twice,) = SpoolDisk().preflight(hub.context(), Known(inputs=inputs_for(of, tmp_path, limit=MiB))).notes
    assert twice.startswith(f"compressed: not kept, since up to 3.0 MiB may not fit into {tmp_path} (")
    assert twice.endswith("it is compressed again while it is uploaded")
    assert not list(tmp_path.glob("20*")), "a plan left something"


def test_what_a_run_that_was_cut_short_has_left_goes_with_the_run(hub: Hub, chain: list[Reference], tmp_path: Path):
    inputs = inputs_for(opened(hub, chain[0].point), tmp_path / "spool")
    assert SpoolDisk().leftover(hub.context(), inputs) is None
    out = spooled(hub, inputs)
    Path(out.path).write_bytes(b"half")
    left = SpoolDisk().leftover(hub.context(), inputs)
    assert left is not None
    SpoolDisk().undo(hub.context(), inputs, left)
    assert not (tmp_path / "spool" / RUN).exists()
    SpoolDisk().undo(hub.context(), inputs, left)
